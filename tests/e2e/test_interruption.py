# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A build that is interrupted ends at once and in order, whoever gets the signal."""

from __future__ import annotations

import signal
import socket
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.faulty_proxy import answer, faulty_proxy
from tests.support.leaks import is_running, wait_until_gone
from tests.support.payloads import document
from tests.support.registry import Registry
from tests.support.repositories import repository
from tests.support.run import DOORS, Machine


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("number", "group"),
    [(signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGINT, True)],
    ids=["SIGTERM to the program", "SIGTERM to the group", "Ctrl-C"],
)
def test_a_build_that_is_interrupted_leaves_nothing(
    door: str, number: signal.Signals, group: bool, machine: Machine, local_registry: Registry, tmp_path: Path
) -> None:
    machine.secrets.append(local_registry.password)
    machine.environment["REGISTRY_PASSWORD"] = local_registry.password
    mark = f"interrupted-{uuid.uuid4().hex}"
    dockerfile = f"FROM python:3.6-alpine\nRUN sh -c 'sleep 600; true' {mark}\n"
    repository(tmp_path / "repository", {"Dockerfile": dockerfile})
    wanted = document(local_registry, {"url": f"file://{tmp_path}/repository"}, {"image": "interrupted"})
    wanted["target"]["registry"]["password"] = {"env": "REGISTRY_PASSWORD"}

    run = machine.start(door, wanted)
    run.wait_for(lambda: is_running(mark))
    run.signal(number, group=group)
    outcome = run.finish(60)

    assert outcome.status != 0
    wait_until_gone(mark)
    assert "interrupted" not in local_registry.repositories()


@pytest.mark.parametrize("door", DOORS)
def test_a_fetch_that_hangs_can_be_interrupted(door: str, machine: Machine, engine: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = {"url": f"http://127.0.0.1:{port}/silent.git"}
        run = machine.start(door, document(Registry(engine.registry), source, {"image": "interrupted"}))
        server.settimeout(60)
        connection, _ = server.accept()
        with connection:
            run.signal(signal.SIGTERM, group=False)
            assert run.finish(60).status != 0


# What the product itself asks a registry for, side by side for several images.
ASKED = {
    "bases": r"^\w+ \S+/bases/\w+/manifests/\S+ image-builder$",
    "what is held": r"^\w+ \S+/paused/\w+/manifests/\S+ image-builder$",
    "whether it may push": r"^POST \S+/paused/\w+/blobs/uploads/ image-builder$",
}


@pytest.mark.parametrize("asked", ASKED)
def test_an_interrupt_does_not_wait_for_a_busy_registry_to_be_asked_again(
    asked: str, machine: Machine, engine: Any, tmp_path: Path
) -> None:
    repository(tmp_path / "repository", {"Dockerfile": "ARG N\nFROM $N\n"})
    source = {"url": f"file://{tmp_path}/repository"}
    with faulty_proxy(Registry(engine.registry)) as proxy:
        proxy.fault(ASKED[asked], answer(429, Retry_After="300"))
        bases = [f"{proxy.address}/bases/{n}:1" if asked == "bases" else "scratch" for n in "abcde"]
        images = [
            {"image": f"paused/{name}", "build_args": {"N": base}}
            for name, base in zip("abcde", bases, strict=True)
        ]
        wanted = document(Registry(proxy.address), source, *images)
        run = machine.start("image-builder", {**wanted, "options": {"retry_for": 1000}})
        run.wait_for(lambda: proxy.count(ASKED[asked]) >= len(images))
        run.signal(signal.SIGINT, group=True)
        assert run.finish(60).status == 130
