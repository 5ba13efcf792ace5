# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""An engine that dies under a command: the user is told, nothing stays behind, and the next run completes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import Engine
from tests.support.images import Image
from tests.support.leaks import is_running, wait_until_gone
from tests.support.own_engine import OwnEngine, own_engine
from tests.support.payloads import document
from tests.support.registry import Registry
from tests.support.repositories import repository
from tests.support.run import Machine


@pytest.fixture
def own(tmp_path: Path, machine: Machine, engine: Engine) -> Iterator[OwnEngine]:
    """An engine of the test's own, with which the user of ``machine`` builds."""
    with own_engine(tmp_path / "engine", engine.registry) as made:
        machine.environment["DOCKER_HOST"] = made.engine.docker_host
        yield made


def test_a_command_whose_engine_is_killed_fails_and_the_next_one_completes(
    machine: Machine, own: OwnEngine, local_registry: Registry, tmp_path: Path
) -> None:
    machine.secrets.append(local_registry.password)
    mark = uuid.uuid4().hex
    dockerfile = f"FROM alpine:3.18\nRUN sleep 5; echo done >/state; : {mark}\n"
    repository(tmp_path / "repository", {"Dockerfile": dockerfile})
    image = {"image": "killed", "platforms": ["linux/amd64", "linux/arm64"]}
    wanted = document(local_registry, {"url": f"file://{tmp_path}/repository"}, image)

    run = machine.start("image-builder", wanted)
    run.wait_for(lambda: is_running(mark))
    own.kill()
    outcome = run.finish(60)
    assert outcome.status == 1, outcome.output
    told = json.loads(outcome.stdout)
    (entry,) = told["images"]
    assert entry["state"] == "failed"
    for error in (entry["error"], told["error"]):
        assert (error["code"], error["retryable"]) == ("engine_lost", True)
    assert "killed" not in local_registry.repositories()
    wait_until_gone(mark)  # a step outlives its engine

    own.start()
    (built,) = machine.build_ok("image-builder", wanted)
    pushed = Image(own.engine, local_registry, "killed")
    assert built["digest"] == pushed.digest
    assert pushed.read("/state") == "done\n"
