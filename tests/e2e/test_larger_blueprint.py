# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A blueprint that includes the node type, as others write it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.blueprint import Blueprint
from tests.support.engine import Engine
from tests.support.images import Image
from tests.support.payloads import document
from tests.support.registry import Registry
from tests.support.repositories import GENERIC_REPO, repository
from tests.support.run import Machine


@pytest.fixture
def blueprint(machine: Machine, local_registry: Registry, tmp_path: Path) -> Blueprint:
    machine.secrets.append(local_registry.password)
    return Blueprint("two_builders", machine, tmp_path / "blueprint", local_registry.password)


@pytest.fixture
def inputs(local_registry: Registry, tmp_path: Path) -> str:
    repository(tmp_path / "repository", GENERIC_REPO)
    source = {"url": f"file://{tmp_path}/repository"}
    wanted = {}
    for name, image in (
        ("backend", {"image": "two/backend", "tag": "1"}),
        ("frontend", {"image": "two/frontend", "tag": "2", "base": "alpine:3.18"}),
    ):
        made = document(local_registry, source, image)
        made["target"]["registry"]["password"] = {"env": "REGISTRY_PASSWORD"}
        wanted |= {f"{name}_source": made["source"], f"{name}_target": made["target"]}
    path = tmp_path / "inputs.json"
    path.write_text(json.dumps(wanted), encoding="utf-8")
    return str(path)


def test_the_digests_of_two_builders_reach_a_third_node(
    blueprint: Blueprint, inputs: str, local_registry: Registry, engine: Engine
) -> None:
    # With --executors the playbooks that the template names are read too.
    assert "Done." in blueprint.opera("validate", "--executors", "-i", inputs, "service.yaml").stdout
    blueprint.opera("deploy", "-i", inputs, "service.yaml")
    backend = Image(engine, local_registry, "two/backend", "1")
    frontend = Image(engine, local_registry, "two/frontend", "2")
    reference = f"{local_registry.address}/two/backend@{backend.digest}"
    assert blueprint.outputs() == {
        "pinned": [reference, frontend.digest],
        "backend": reference,
        "frontend": "two/frontend:2",
    }
    assert frontend.base() == "alpine:3.18"

    undeployed = blueprint.opera("undeploy")
    assert "Undeployment of release_0 complete" in undeployed.stdout
    assert backend.digest


def test_an_update_builds_what_moved_and_keeps_the_outputs(
    machine: Machine, local_registry: Registry, tmp_path: Path
) -> None:
    repository(tmp_path / "repository", GENERIC_REPO)
    machine.secrets.append(local_registry.password)
    wanted = document(
        local_registry, {"url": f"file://{tmp_path}/repository"}, {"image": "update", "tag": "1"}
    )
    machine.build_ok("opera", wanted)
    template = ("-i", str(machine.own_file("same.json", json.dumps(wanted))), "docker_image_definition.yaml")

    def updated() -> dict[str, Any]:
        outcome = machine.opera("update", *template)
        assert outcome.status == 0, outcome.output
        (image,) = json.loads(machine.opera("outputs", "--format", "json").stdout)["images"]["value"]
        return dict(image)

    unchanged = updated()
    assert unchanged["state"] == "unchanged"
    (tmp_path / "repository").rename(tmp_path / "former")
    repository(tmp_path / "repository", {**GENERIC_REPO, "app.py": "print('newer')\n"})
    built = updated()
    assert built["state"] == "success"
    assert built["digest"] != unchanged["digest"]
