# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Six variants of which one fails, in its first step or its last one, to six that succeed.

The caches are cold.
"""

from __future__ import annotations

from typing import Any

from benchmarks.answer import Answer, medians, timed
from benchmarks.site import Scale, Site, Variant

_DOCKERFILE = """\
FROM alpine:latest
COPY . /app
ARG FAILS=no
RUN [ $FAILS != first ]
RUN head -c 1000000 /app/data | cat /app/nonce - > /copy && uname -m > /machine
RUN [ $FAILS != last ]
"""


def one_failure(site: Site, scale: Scale) -> Answer:
    """Measure."""
    source = site.source("one-failure", _DOCKERFILE, scale.megabytes)

    def document(name: str, fails: str) -> dict[str, Any]:
        variants = [
            Variant(f"{name}-{number}", base, {"FAILS": "no" if number else fails})
            for number, base in enumerate(scale.six)
        ]
        return site.document(source.url, variants, scale.platforms)

    def fails(name: str, step: str) -> None:
        states = [result.state for result in site.build(document(name, step)).results]
        if states != ["failed"] + ["success"] * (len(scale.six) - 1):
            raise SystemExit(f"The images ended otherwise than one of them failed: {', '.join(states)}.")

    measured = timed(
        {
            "all succeed": lambda name: site.build_ok(document(name, "no"), "success"),
            "one fails in its first step": lambda name: fails(name, "first"),
            "one fails in its last step": lambda name: fails(name, "last"),
        },
        scale.rounds,
        before=lambda name: site.renew(source, name),
    )
    whole, first, last = medians(measured).values()
    return Answer(
        {"images": len(scale.six), "platforms": scale.platforms, "context": f"{scale.megabytes} MB"},
        measured,
        {
            "fails in its first step / all succeed": first / whole,
            "fails in its last step / all succeed": last / whole,
        },
    )
