# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Tests that build with a real engine; ``tests.support.engine`` says where they look for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.builds.site import Site, user_site
from tests.support.engine import Engine, program
from tests.support.own_engine import EACH, engine_of_kind


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "engine: needs a Docker Engine with buildx and the sample base images")
    config.addinivalue_line("markers", "each_engine: runs once on each engine of own_engine.EACH")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("each_engine"):
        metafunc.parametrize("engine", list(EACH), indirect=True, scope="session")


@pytest.fixture(scope="session")
def each_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Engine]]:
    """Gives the engine that ``EACH`` calls so, which stands until the last test."""
    with ExitStack() as stack:

        @cache
        def given(name: str) -> Engine:
            return stack.enter_context(engine_of_kind(name, tmp_path_factory.mktemp("kind")))

        yield given


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest, each_engine: Callable[[str], Engine]) -> Iterator[Engine]:
    """The engine that builds: the site's, or each of ``EACH`` in turn for a test marked ``each_engine``.

    It keeps none of the images that tests pushed: hundreds make it slow.
    """
    kind = getattr(request, "param", None)
    engine = Engine.from_environment() if kind is None else each_engine(kind)
    yield engine
    listed = engine.docker("image", "ls", "--format={{.Repository}}:{{.Tag}}", check=False).decode().split()
    ours = [name for name in listed if name.startswith("127.0.0.1:") and "/tests/" in name]
    if ours:
        engine.docker("image", "rm", *ours, check=False)


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


@pytest.fixture
def site(tmp_path: Path, engine: Engine, machine: tuple[Path, Path]) -> Iterator[Site]:
    """A build context of a user on ``machine``; some modules have sites of their own."""
    with user_site(tmp_path, engine, machine) as made:
        yield made
