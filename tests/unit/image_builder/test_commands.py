# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.input_hash import INPUT_HASH
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.planned import Head
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import ImageResult, Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import Image
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import Cancelled
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations import request

from tests.support.repositories import repository
from tests.unit.image_builder.conftest import Ended
from tests.unit.registries import running_registry

Command = Callable[..., Ended]


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    repository(tmp_path / "repository", {"Dockerfile": "FROM alpine\n"})
    return {
        "source": {"git_repo": {"url": f"file://{tmp_path}/repository"}},
        "target": {"images": [{"image": "app"}], "registry": {"url": "127.0.0.1:9"}},
    }


def written(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "inputs.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def test_the_help_names_every_command(command: Command) -> None:
    ended = command("--help")
    assert ended.status == 0
    for name in ("build", "plan", "deploy", "convert", "inspect", "engine"):
        assert f"\n  {name} " in ended.stdout
    for name in ("up", "down", "status", "env"):
        assert f"\n  {name} " in command("engine", "--help").stdout


@pytest.mark.parametrize("name", ["build", "plan"])
def test_each_fault_of_a_document_is_a_line_on_standard_error(
    name: str, command: Command, document: dict[str, Any], tmp_path: Path
) -> None:
    document["target"]["images"][0] = {"image": "APP", "platforms": ["linux"]}
    ended = command(name, written(tmp_path, document))
    assert ended.status == 2
    assert ended.stdout == ""
    assert [line.split(": ")[:2] for line in ended.stderr.splitlines()] == [
        ["error", "target.images[0].image"],
        ["error", "target.images[0].platforms[0]"],
    ]


def test_with_json_the_faults_stand_on_standard_output_too(
    command: Command, document: dict[str, Any], tmp_path: Path
) -> None:
    del document["target"]["registry"]
    ended = command("build", "--json", written(tmp_path, document))
    assert ended.status == 2
    error = json.loads(ended.stdout)["error"]
    assert error["code"] == "invalid_parameters"
    assert [fault.split(": ")[0] for fault in error["faults"]] == ["target.registry"]


@pytest.mark.parametrize("name", ["build", "plan"])
def test_without_an_engine_it_says_so_and_leaves_no_workspace(
    name: str, command: Command, document: dict[str, Any], tmp_path: Path
) -> None:
    ended = command(name, written(tmp_path, document))
    assert ended.status == 1
    assert ended.stderr.count("error: ") == 1
    assert "No Docker Engine" in ended.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_signal_ends_it_with_a_status_of_its_own(
    command: Command, document: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(request, "build_images", interrupted)
    ended = command("build", written(tmp_path, document))
    assert ended.status == 130
    assert "Interrupted" in ended.stderr
    assert "error: " not in ended.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [["build"], ["plan", "/no/such/file"], ["inspect"], ["no-such-command"]]
)
def test_wrong_usage_has_the_status_of_wrong_input(arguments: list[str], command: Command) -> None:
    assert command(*arguments).status == 2


def test_the_engine_commands_say_when_there_is_none(command: Command) -> None:
    for name in ("status", "env"):
        ended = command("engine", name)
        assert ended.status == 1
        assert "No Docker Engine" in ended.stderr
        assert ended.stdout == ""
    assert json.loads(command("engine", "status", "--json").stdout)["error"]["code"] == "no_engine"


@pytest.mark.parametrize("name", ["up", "down"])
def test_an_engine_is_set_up_and_taken_down_by_root_only(
    name: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    ended = command("engine", name)
    assert ended.status == 1
    assert "root" in ended.stderr


def test_inspect_prints_what_the_registry_holds(command: Command, tmp_path: Path) -> None:
    with running_registry(tmp_path / "registry") as registry:
        amd64, arm64, attestation = (
            registry.push_image("team/app", salt=salt) for salt in ("amd64", "arm64", "attestation")
        )
        about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": amd64}
        unknown = {"os": "unknown", "architecture": "unknown"}
        entries = [
            {"digest": amd64, "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": arm64, "platform": {"os": "linux", "architecture": "arm64"}},
            {"digest": attestation, "platform": unknown, "annotations": about},
        ]
        annotations = {INPUT_HASH: "sha256:abc", "colour": "blue"}
        index = registry.push_index("team/app", "1", entries, annotations=annotations)
        reference = f"{registry.host}/team/app:1"
        ended = command("inspect", reference)
        assert ended.status == 0, ended.stderr
        for text in (reference, index, amd64, arm64, attestation, "input hash  sha256:abc", "colour  blue"):
            assert text in ended.stdout
        found = json.loads(command("inspect", "--json", reference).stdout)
        assert found["digest"] == index
        assert [entry["platform"] for entry in found["platforms"]] == ["linux/amd64", "linux/arm64"]
        assert found["attestations"] == {amd64: attestation}

        missing = command("inspect", f"{registry.host}/team/app:2")
        assert missing.status == 1
        assert "does not hold" in missing.stderr


def test_inspect_takes_a_reference_only(command: Command) -> None:
    ended = command("inspect", "NOT/a reference")
    assert ended.status == 2
    assert ended.stderr.startswith("error: reference: ")


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(("code", "status"), [("cancelled", 130), ("timeout", 1)])
def test_a_build_that_was_ended_tells_what_became_of_each_image(
    command: Command,
    document: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    as_json: bool,
    code: str,
    status: int,
) -> None:
    done, left = (Head(Image((Reference.parse(f"127.0.0.1:9/{name}:1"),))) for name in ("done", "left"))
    digest = f"sha256:{'1' * 64}"
    results = (ImageResult.pushed(done, digest), ImageResult(left, "cancelled"))
    report = Report(results, "", Cancelled("It was ended.", code))
    monkeypatch.setattr(request, "carry_out", lambda document, listener: report)
    ended = command("build", *(["--json"] if as_json else []), written(tmp_path, document))
    assert ended.status == status
    assert ("Interrupted." if code == "cancelled" else "error: It was ended.") in ended.stderr
    if as_json:
        told = json.loads(ended.stdout)
        assert [(image["state"], image["digest"]) for image in told["images"]] == [
            ("success", digest),
            ("cancelled", ""),
        ]
        assert (told["changed"], told["error"]["code"]) == (True, code)
    else:
        assert f"127.0.0.1:9/done@{digest}" in ended.stdout
        assert "not built" in ended.stdout
