# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Six images, and a hundred, of which nothing changed, to a cached ``docker buildx bake`` of the six.

image-builder runs in this process, without the start of an interpreter, and as the command. It asks a git
repository, where the bake, to its advantage, has a local folder.
"""

from __future__ import annotations

import json
from functools import partial

from benchmarks.answer import Aim, Answer, medians, timed
from benchmarks.site import Scale, Site, Variant, run_installed

_DOCKERFILE = """\
FROM alpine:latest
COPY . /app
RUN uname -m > /machine
ARG VARIANT
LABEL variant=$VARIANT
"""


def unchanged(site: Site, scale: Scale) -> Answer:
    """Measure."""
    source = site.source("unchanged", _DOCKERFILE, scale.megabytes)
    count, many = len(scale.six), 5 if scale.small else 100

    def variants(name: str, number: int) -> list[Variant]:
        return [
            Variant(f"{name}-{n}", scale.six[n % len(scale.six)], {"VARIANT": str(n)}) for n in range(number)
        ]

    by_hand = partial(site.bake, source, variants("bake", count), scale.platforms)
    six = site.document(source.url, variants("six", count), scale.platforms)
    hundred = site.document(source.url, variants("hundred", many), scale.platforms)
    by_hand()
    for document in (six, hundred):
        site.build_ok(document, "success")
    asked = site.folder / "six.json"
    asked.write_text(json.dumps(six), encoding="utf-8")
    measured = timed(
        {
            "bake of six": lambda _: by_hand(),
            "image-builder, six": lambda _: site.build_ok(six, "unchanged"),
            "image-builder, a hundred": lambda _: site.build_ok(hundred, "unchanged"),
            "image-builder, six, as a command": lambda _: run_installed(
                "image-builder", "build", str(asked), cwd=site.folder
            ),
        },
        scale.rounds,
    )
    bake, few, all_, command = medians(measured).values()
    return Answer(
        {
            "images": [count, many],
            "platforms": scale.platforms,
            "bases": len(scale.six),
            "context": f"{scale.megabytes} MB",
        },
        measured,
        {
            "bake of six / image-builder, six": bake / few,
            "image-builder, a hundred / bake of six": all_ / bake,
        },
        (
            Aim("bake of six / image-builder, six", bake / few, 5.0, at_least=True),
            Aim("seconds of image-builder, a hundred", all_, 2.0),
            Aim("seconds of image-builder, six, as a command", command, 0.25),
        ),
    )
