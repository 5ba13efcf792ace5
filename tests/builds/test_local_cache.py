# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A build cache in a folder of the machine that builds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.builds.site import Site

pytestmark = [pytest.mark.engine, pytest.mark.each_engine]


def test_steps_are_taken_from_a_folder_that_another_build_wrote(site: Site, tmp_path: Path) -> None:
    base = f"{site.engine.registry}/library/alpine:3.18"
    step = f": {site.name}; head -c 16 /dev/urandom | sha256sum > /mark"
    site.write(Dockerfile=f"FROM {base}\nRUN {step}\n")
    folder = str(tmp_path / "cache")
    site.build_ok({"image": "app", "cache_to": [{"type": "local", "dest": folder, "mode": "max"}]})
    before = site.pushed("app").read("/mark")
    forget(site, step)
    site.build_ok({"image": "without", "labels": {"l": "1"}})
    assert site.pushed("without").read("/mark") != before
    forget(site, step)
    # GitHub has none here, which is no failure.
    caches = [{"type": "local", "src": folder}, {"type": "gha"}]
    site.build_ok({"image": "again", "cache_from": caches})
    assert site.pushed("again").read("/mark") == before
    # Where layers came from says nothing of what is built.
    assert site.rebuilt({"image": "again"}) == set()


def forget(site: Site, step: str) -> None:
    """Make the engine forget that it ran ``step``, and what it keeps of it."""
    names = [f"{site.reference(name)}:latest" for name in ("app", "without", "again")]
    site.engine.docker("image", "rm", "--force", *names, check=False)
    environment = {**os.environ, "DOCKER_HOST": site.engine.docker_host, "DOCKER_CONFIG": str(site.folder)}

    def buildx(*arguments: str) -> str:
        argv = [site.engine.buildx, *arguments]
        return subprocess.run(argv, env=environment, check=True, capture_output=True, text=True).stdout

    told = buildx("du", "--verbose", "--filter", "type=regular").split("\n\n")
    (record,) = (text for text in told if step in text)
    buildx("prune", "--all", "--force", "--filter", f"id={record.split()[1]}")
