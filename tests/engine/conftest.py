# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Tests that build with a real engine; ``tests.site.engine`` says where they look for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.site.engine import Engine, program


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "engine: needs a Docker Engine with buildx and the sample base images")


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine.from_environment()


@pytest.fixture
def machine(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The home folder and the folder for temporary files of a user who builds with ``engine``."""
    home, tmp = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    tmp.mkdir()
    folders = [str(Path(engine.buildx).parent), str(Path(program("docker")).parent), os.environ["PATH"]]
    for name, value in {
        "HOME": str(home),
        "TMPDIR": str(tmp),
        "DOCKER_HOST": engine.docker_host,
        "PATH": os.pathsep.join(folders),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setattr("tempfile.tempdir", None)
    return home, tmp
