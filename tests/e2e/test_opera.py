# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What opera shows of a deployment, and how it is undone."""

from __future__ import annotations

import json
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Engine
from tests.support.images import Image
from tests.support.payloads import document
from tests.support.registry import Registry
from tests.support.repositories import GENERIC_REPO, repository
from tests.support.run import Machine


@pytest.fixture
def wanted(local_registry: Registry, machine: Machine, tmp_path: Path) -> dict[str, Any]:
    machine.secrets.append(local_registry.password)
    repository(tmp_path / "repository", GENERIC_REPO)
    return document(
        local_registry, {"url": f"file://{tmp_path}/repository"}, {"image": "undeploy", "tag": "1"}
    )


@pytest.mark.parametrize("delete_images", [False, True])
def test_undeploying_removes_the_images_from_the_registry_only_if_asked(
    delete_images: bool, machine: Machine, wanted: dict[str, Any], local_registry: Registry, engine: Engine
) -> None:
    machine.build_ok("opera", {**wanted, "options": {"delete_images": delete_images}})
    image = Image(engine, local_registry, "undeploy", "1")
    assert image.base() == "python:3.6-alpine"

    undeployed = machine.opera("undeploy")
    assert undeployed.status == 0, undeployed.output
    if delete_images:
        with pytest.raises(urllib.error.HTTPError, match="404"):
            image.manifest()
    else:
        assert image.base() == "python:3.6-alpine"


def test_the_outputs_name_the_image_and_its_digest(
    machine: Machine, wanted: dict[str, Any], local_registry: Registry, engine: Engine
) -> None:
    machine.build_ok("opera", wanted)
    outputs = machine.opera("outputs", "--format", "json")
    values = {name: entry["value"] for name, entry in json.loads(outputs.stdout).items()}
    image = Image(engine, local_registry, "undeploy", "1")

    assert values["image"] == image.reference
    assert values["digest"] == image.digest
    assert [entry["reference"] for entry in values["images"]] == [image.reference]


def test_a_failed_deployment_succeeds_when_it_is_resumed_after_the_cause_is_gone(
    machine: Machine, wanted: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "repository").rename(tmp_path / "moved")
    assert machine.build("opera", wanted).status != 0
    (tmp_path / "moved").rename(tmp_path / "repository")

    machine.build_ok("opera", wanted, "--resume", "--force")


def test_a_deployment_that_failed_over_its_document_can_be_undone(
    machine: Machine, wanted: dict[str, Any]
) -> None:
    wanted["source"]["git_repo"]["urll"] = wanted["source"]["git_repo"].pop("url")
    machine.build_fails("opera", wanted, "source.git_repo.urll")

    undeployed = machine.opera("undeploy", "--resume", "--force")
    assert undeployed.status == 0, undeployed.output
