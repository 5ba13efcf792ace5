# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A blueprint that was written for earlier image builders deploys with nothing but this library."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.blueprint import OPERAS, Blueprint
from tests.support.engine import Engine
from tests.support.images import Image
from tests.support.registry import Registry
from tests.support.repositories import CONTEXTS, DOCKERFILES, GENERIC_REPO, repository, write
from tests.support.run import Machine

# What the earlier types had as defaults stands in every key that the blueprint gives no value.
NO_ACCOUNT = {"username": "", "password": ""}


def repository_source(folder: Path) -> dict[str, Any]:
    repository(folder / "repository", GENERIC_REPO)
    url = f"file://{folder}/repository"
    return {
        "dockerfile": "",
        "build_context": "",
        "git_repo": {"url": url, "version": "", **NO_ACCOUNT, "workdir": "", "dockerfile": ""},
    }


def dockerfile_source(folder: Path) -> dict[str, Any]:
    repository(folder / "repository", CONTEXTS["generic_docker_build_context"])
    write(folder / "files", DOCKERFILES)
    url = f"file://{folder}/repository"
    return {
        "dockerfile": {"url": f"file://{folder}/files/python_build_context/Dockerfile", **NO_ACCOUNT},
        "build_context": {"url": url, "path": "", **NO_ACCOUNT, "subdir": ""},
        "git_repo": "",
    }


@pytest.mark.parametrize("version", OPERAS)
@pytest.mark.parametrize("source", [repository_source, dockerfile_source])
def test_a_blueprint_of_the_earlier_form_deploys_as_it_is(
    version: str,
    source: Callable[[Path], dict[str, Any]],
    machine: Machine,
    local_registry: Registry,
    engine: Engine,
    tmp_path: Path,
) -> None:
    machine.secrets.append(local_registry.password)
    blueprint = Blueprint("earlier", machine, tmp_path / "blueprint", local_registry.password, version)
    inputs = tmp_path / "inputs.json"
    inputs.write_text(json.dumps(document(source(tmp_path), local_registry)), encoding="utf-8")
    blueprint.opera("validate", "-i", str(inputs), "service.yaml")
    blueprint.opera("deploy", "-i", str(inputs), "service.yaml")
    images = [Image(engine, local_registry, "earlier", tag) for tag in ("plain", "variant")]
    assert blueprint.outputs() == {"image": images[0].reference}
    assert [image.base() for image in images] == ["python:3.6-alpine", "python:3.8-alpine"]
    blueprint.opera("undeploy")


def document(source: Mapping[str, Any], registry: Registry) -> dict[str, Any]:
    images = [
        {"image": "earlier", "tag": "plain", "base": "", "platforms": ["linux/amd64"]},
        {"image": "earlier", "tag": "variant", "base": "python:3.8-alpine", "platforms": ["linux/amd64"]},
    ]
    account = {"username": registry.username, "password": {"env": "REGISTRY_PASSWORD"}}
    return {"source": source, "target": {"images": images, "registry": {"url": registry.address, **account}}}
