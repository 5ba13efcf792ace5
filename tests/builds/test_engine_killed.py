# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""An engine that dies in the middle of a build: how that ends, and that the next run completes."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.processes import wait_until

from tests.builds.site import BOTH, Site, states
from tests.support import leaks
from tests.support.engine import Engine
from tests.support.own_engine import OwnEngine, own_engine
from tests.support.registry import registry

pytestmark = pytest.mark.engine

WANTED = ({"image": "one", "platforms": BOTH}, {"image": "two"})


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnEngine]:
    with own_engine(tmp_path_factory.mktemp("own") / "engine", Engine.from_environment().registry) as made:
        yield made


@pytest.fixture
def engine(own: OwnEngine) -> Engine:
    """What the tests of this module build with."""
    return own.engine


@contextmanager
def killing(
    own: OwnEngine, when: Callable[[], object], then: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Kill the engine as soon as ``when()`` is true, and call ``then``; it is an error when that never is."""
    killed = threading.Event()

    def kill() -> None:
        if wait_until(lambda: bool(when()), 60, pause=0.005):
            own.kill()
            then()
            killed.set()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    yield
    killer.join()
    assert killed.is_set(), "the moment to kill the engine never came"


def has_content(path: Path) -> bool:
    """Whether the file is there, as one that the registry is done with is no more, and not empty."""
    with suppress(FileNotFoundError):
        return path.stat().st_size > 0
    return False


def assert_engine_lost(site: Site) -> None:
    """Build ``WANTED`` while the engine is killed, and assert what the user is told."""
    made = site.build(*WANTED)
    assert states(made) == ["failed", "failed"]
    for image in made.to_dict()["images"]:
        error = image["error"]
        assert "The engine was lost" in error["message"]
        assert (error["code"], error["phase"], error["retryable"]) == ("engine_lost", "build", True)
        assert "when the engine answers" in error["hint"]
        assert image["digest"] == ""


def test_a_build_whose_engine_is_killed_in_a_step_fails_and_the_next_one_completes(
    site: Site, own: OwnEngine
) -> None:
    mark = uuid.uuid4().hex
    site.write(Dockerfile=f"FROM alpine\nRUN echo 1 >/one\nRUN echo 2 >/two; sleep 5; : {mark}\n")
    with killing(own, lambda: leaks.is_running(mark)):
        assert_engine_lost(site)
    assert not {site.repository("one"), site.repository("two")} & set(
        site.pushed("one").registry.repositories()
    )
    leaks.wait_until_gone(mark)  # a step outlives its engine

    own.start()
    site.build_ok(*WANTED)
    assert set(site.pushed("one").platforms()) == set(BOTH)
    assert site.pushed("two").read("/two") == "2\n"
    assert site.rebuilt(*WANTED) == set()


def test_a_build_whose_engine_is_killed_while_it_pushes_fails_and_the_next_one_completes(
    site: Site, own: OwnEngine, tmp_path: Path
) -> None:
    content = os.urandom(32 << 20)
    site.write(Dockerfile="FROM alpine\nCOPY large /\n")
    (site.context / "large").write_bytes(content)
    with registry(tmp_path / "registry") as target:
        site.engine = replace(site.engine, registry=target.address)
        ((server, _),) = leaks.running(str(tmp_path / "registry")).items()
        pushed = tmp_path / "registry/data/docker/registry/v2/repositories" / site.name

        def is_uploading() -> bool:
            """Whether part of a layer has arrived; the registry then takes no more before the kill."""
            if not any(map(has_content, pushed.glob("*/_uploads/*/data"))):
                return False
            os.kill(server, signal.SIGSTOP)
            return True

        with killing(own, is_uploading, then=lambda: os.kill(server, signal.SIGCONT)):
            assert_engine_lost(site)
        for name in ("one", "two"):
            assert not list(pushed.glob(f"{name}/_manifests/tags/*"))

        own.start()
        site.build_ok(*WANTED)
        assert set(site.pushed("one").platforms()) == set(BOTH)
        assert (
            hashlib.sha256(content).hexdigest()
            in site.pushed("two").run("/bin/busybox", "sha256sum", "/large").decode()
        )
        assert site.rebuilt(*WANTED) == set()
