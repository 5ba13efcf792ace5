# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""image-builder, by itself, ansible-playbook and opera, to what one would write by hand for the same images.

Six base variants for two platforms from 50 MB of context, each way with a cold cache:

* one hand-written ``docker buildx bake`` of the tree as it is in the repository,
* the same targets one after another by ``docker buildx build``,
* ``image-builder build``, which fetches the tree from the repository, as the next two do,
* ``ansible-playbook`` with image-builder's playbook,
* ``opera deploy`` with image-builder's blueprint.

What Ansible and opera take for themselves is what they take, less what ``image-builder build`` takes, where
nothing changed. Every round of every way gets a context that was never built before, so nothing comes from
the build cache, and the engine's cache need not be pruned.
"""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.answer import Aim, Answer, medians, timed
from benchmarks.site import TO_REGISTRY, Scale, Site, Variant, run_installed
from tests.support.run import ROOT

_DOCKERFILE = """\
FROM alpine:latest
COPY . /app
RUN head -c 1000000 /app/data | cat /app/nonce - > /copy && uname -m > /machine
"""

# The name of what is built ahead, and asked for again.
_AGAIN = "again"
_DOORS = ("ansible-playbook", "opera")


def six_variants(site: Site, scale: Scale) -> Answer:
    """Measure."""
    ways = _Ways(site, scale)
    measured = timed(
        {
            "bake": ways.bake,
            "one after another": ways.one_after_another,
            "image-builder": ways.image_builder,
            "ansible-playbook": ways.ansible_playbook,
            "opera": ways.opera,
        },
        scale.rounds,
        before=lambda name: site.renew(ways.source, name),
    )
    ways.image_builder(_AGAIN)
    measured |= timed(
        {
            "image-builder, nothing changed": lambda _: ways.image_builder(_AGAIN),
            "ansible-playbook, nothing changed": lambda _: ways.ansible_playbook(_AGAIN),
            "opera, nothing changed": lambda name: ways.opera(name, document=_AGAIN),
        },
        scale.rounds,
    )
    median = medians(measured)
    ratios = {
        f"{way} / {other}": median[way] / median[other]
        for way in ("image-builder", *_DOORS)
        for other in ("bake", "one after another")
    }
    asked = median["image-builder, nothing changed"]
    limits = {way: median["image-builder"] + median[f"{way}, nothing changed"] - asked for way in _DOORS}
    return Answer(
        {"images": len(scale.six), "platforms": scale.platforms, "context": f"{scale.megabytes} MB"},
        measured,
        ratios,
        (
            Aim("image-builder / bake", median["image-builder"] / median["bake"], 1.0),
            *(
                Aim(f"{way} / (image-builder + what {way} takes itself)", median[way] / limit, 1.0)
                for way, limit in limits.items()
            ),
        ),
    )


class _Ways:
    """The ways to build, each called with a name that no other call gets."""

    def __init__(self, site: Site, scale: Scale) -> None:
        self.source = site.source("six", _DOCKERFILE, scale.megabytes)
        self._site = site
        self._scale = scale

    def bake(self, name: str) -> None:
        """One bake of six targets, as written by hand."""
        self._site.bake(self.source, self._variants(name), self._scale.platforms)

    def one_after_another(self, name: str) -> None:
        """Six builds, each waiting for the one before."""
        for variant in self._variants(name):
            self._site.buildx(
                "build",
                *("--build-context", f"alpine=docker-image://{variant.base}"),
                *("--platform", ",".join(self._scale.platforms)),
                *("--tag", self._site.reference(variant)),
                *("--output", TO_REGISTRY),
                str(self.source.tree),
            )

    def image_builder(self, name: str) -> None:
        """image-builder by its command line."""
        run_installed("image-builder", "build", str(self._document(name)), cwd=self._site.folder)

    def ansible_playbook(self, name: str) -> None:
        """image-builder by its playbook."""
        document = f"document={self._document(name)}"
        run_installed(
            "ansible-playbook", "sodalite.image_builder.build", "-e", document, cwd=self._site.folder
        )

    def opera(self, name: str, document: str = "") -> None:
        """image-builder by its blueprint; ``document`` is another name whose images are built."""
        state = self._site.folder / f"state-{name}"
        state.mkdir()
        inputs = ("--instance-path", str(state), "--inputs", str(self._document(document or name)))
        run_installed("opera", "deploy", *inputs, "docker_image_definition.yaml", cwd=ROOT)

    def _variants(self, name: str) -> list[Variant]:
        return [Variant(f"{name}-{number}", base) for number, base in enumerate(self._scale.six)]

    def _document(self, name: str) -> Path:
        path = self._site.folder / f"{name}.json"
        document = self._site.document(self.source.url, self._variants(name), self._scale.platforms)
        path.write_text(json.dumps(document), encoding="utf-8")
        return path
