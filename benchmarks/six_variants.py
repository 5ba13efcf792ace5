# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""ansible-playbook and opera with image-builder, to what one would write by hand for the same images.

Six base variants for two platforms from 50 MB of context, each way with a cold cache:

* one hand-written ``docker buildx bake``,
* the same targets one after another by ``docker buildx build``,
* ``ansible-playbook`` with image-builder's playbook,
* ``opera deploy`` with image-builder's blueprint.

Every round of every way gets a context that was never built before, so nothing comes from the
build cache, and the engine's cache need not be pruned.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from benchmarks.answer import Aim, Answer, medians, timed
from benchmarks.site import Scale, Site, Variant, run
from tests.support.run import ROOT, VENV

_DOCKERFILE = """\
FROM alpine:latest
COPY . /app
RUN head -c 1000000 /app/data | cat /app/nonce - > /copy && uname -m > /machine
"""


def six_variants(site: Site, scale: Scale) -> Answer:
    """Measure."""
    ways = _Ways(site, scale)
    measured = timed(
        {
            "start of Ansible": ways.start_ansible,
            "bake": ways.bake,
            "one after another": ways.one_after_another,
            "ansible-playbook": ways.ansible_playbook,
            "opera": ways.opera,
        },
        scale.rounds,
        before=lambda name: site.renew(ways.source, name),
    )
    median = medians(measured)
    limit = 1.1 * median["bake"] + 2 * median["start of Ansible"]
    ratios = {
        f"{way} / {other}": median[way] / median[other]
        for way in ("ansible-playbook", "opera")
        for other in ("bake", "one after another")
    }
    return Answer(
        {"images": len(scale.six), "platforms": scale.platforms, "context": f"{scale.megabytes} MB"},
        measured,
        ratios,
        tuple(
            Aim(f"{way} / (1.1 bakes + 2 starts of Ansible)", median[way] / limit, 1.0)
            for way in ("ansible-playbook", "opera")
        ),
    )


class _Ways:
    """The ways to build, each called with a name that no other call gets."""

    def __init__(self, site: Site, scale: Scale) -> None:
        self.source = site.source("six", _DOCKERFILE, scale.megabytes)
        self._site = site
        self._scale = scale

    def start_ansible(self, name: str) -> None:
        """A play without tasks."""
        play = self._site.folder / "empty.yml"
        play.write_text("- {hosts: localhost, gather_facts: false}\n", encoding="utf-8")
        self._run("ansible-playbook", str(play))

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
                "--push",
                str(self.source),
            )

    def ansible_playbook(self, name: str) -> None:
        """image-builder by its playbook."""
        document = self._document(name)
        self._run("ansible-playbook", "sodalite.image_builder.build", "--extra-vars", f"document={document}")

    def opera(self, name: str) -> None:
        """image-builder by its blueprint."""
        state = self._site.folder / name
        state.mkdir()
        inputs = ("--instance-path", str(state), "--inputs", str(self._document(name)))
        self._run("opera", "deploy", *inputs, "docker_image_definition.yaml", cwd=ROOT)

    def _variants(self, name: str) -> list[Variant]:
        return [Variant(f"{name}-{number}", base) for number, base in enumerate(self._scale.six)]

    def _document(self, name: str) -> Path:
        path = self._site.folder / f"{name}.json"
        document = self._site.document(self.source.as_uri(), self._variants(name), self._scale.platforms)
        path.write_text(json.dumps(document), encoding="utf-8")
        return path

    def _run(self, program: str, *arguments: str, cwd: Path | None = None) -> None:
        # Ansible ends at once where the locale is not UTF-8.
        path = os.pathsep.join((str(VENV / "bin"), os.environ["PATH"]))
        environment = {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"}
        run(str(VENV / "bin" / program), *arguments, cwd=cwd or self._site.folder, env=environment)
