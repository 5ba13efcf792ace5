# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The command line: what a person sees, and how it ends."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Engine
from tests.support.images import Image
from tests.support.payloads import document
from tests.support.registry import Registry
from tests.support.repositories import GENERIC_REPO, repository
from tests.support.run import ROOT, VENV, Machine, Outcome, Run


def start(machine: Machine, inputs: Path, folder: Path) -> Run:
    folder.mkdir(exist_ok=True)
    argv = [str(VENV / "bin" / "python"), "-m", "image_builder", "deploy", str(inputs)]
    return Run(argv, folder, folder, machine.environment)


def deploy(machine: Machine, inputs: Path, folder: Path) -> Outcome:
    outcome = start(machine, inputs, folder).finish()
    assert "Traceback" not in outcome.output
    return outcome


@pytest.fixture
def wanted(local_registry: Registry, machine: Machine, tmp_path: Path) -> dict[str, Any]:
    machine.secrets.append(local_registry.password)
    repository(tmp_path / "repository", GENERIC_REPO)
    return document(
        local_registry,
        {"url": f"file://{tmp_path}/repository"},
        {"image": "command/line", "tag": "1", "platforms": ["linux/amd64", "linux/arm64"]},
    )


def test_the_table_says_what_was_built_and_then_that_nothing_changed(
    machine: Machine, wanted: dict[str, Any], local_registry: Registry, engine: Engine, tmp_path: Path
) -> None:
    inputs = machine.own_file("inputs.json", json.dumps(wanted))
    built = deploy(machine, inputs, tmp_path / "first")
    assert built.status == 0, built.output
    image = Image(engine, local_registry, "command/line", "1")
    assert f"1: {local_registry.address}/command/line@{image.digest}\n" in built.stdout
    assert " built" in built.stdout
    assert "RUN" in built.stdout, "the steps of the build are not shown"

    again = deploy(machine, inputs, tmp_path / "second")
    assert again.status == 0, again.output
    assert image.digest in again.stdout
    assert " unchanged" in again.stdout
    assert " built" not in again.stdout


def test_each_fault_of_a_document_has_a_line_of_its_own(
    machine: Machine, wanted: dict[str, Any], tmp_path: Path
) -> None:
    wanted["target"]["images"][0]["platforms"] = ["linux"]
    inputs = machine.own_file("inputs.yaml", json.dumps({**wanted, "sauce": {}}))
    outcome = deploy(machine, inputs, tmp_path / "run")
    assert outcome.status == 2
    lines = outcome.stderr.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["sauce", "target.images[0].platforms[0]"]
    assert all(line.startswith("error: ") for line in lines)


def test_a_failed_build_is_explained_in_one_message(
    machine: Machine, wanted: dict[str, Any], tmp_path: Path
) -> None:
    wanted["target"]["images"][0]["base"] = "no/such-base:1"
    outcome = deploy(machine, machine.own_file("inputs.json", json.dumps(wanted)), tmp_path / "run")
    assert outcome.status == 1
    assert outcome.stderr.count("error: ") == 1
    assert "no/such-base:1" in outcome.stderr


@pytest.mark.parametrize("arguments", [[], ["--no-such-option"], ["/no/such/file.yaml"]])
def test_wrong_usage_has_a_status_of_its_own(arguments: list[str], machine: Machine, tmp_path: Path) -> None:
    argv = [str(VENV / "bin" / "python"), "-m", "image_builder", "deploy", *arguments]
    outcome = Run(argv, tmp_path, tmp_path, machine.environment).finish()
    assert outcome.status == 2
    assert "Traceback" not in outcome.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupting_it_leaves_nothing_behind(
    number: signal.Signals, machine: Machine, wanted: dict[str, Any], tmp_path: Path
) -> None:
    # The fixture of the machine sees that no file, process or secret is left.
    repository(tmp_path / "slow", {"Dockerfile": "FROM alpine:3.18\nRUN sleep 120\n"})
    wanted["source"]["git_repo"]["url"] = f"file://{tmp_path}/slow"
    run = start(machine, machine.own_file("inputs.json", json.dumps(wanted)), tmp_path / "run")
    run.wait_for(lambda: "RUN sleep" in run.output()[0])
    run.signal(number, group=False)
    outcome = run.finish(60)
    assert outcome.status == 130, outcome.output
    assert "Interrupted" in outcome.stderr
    assert "Traceback" not in outcome.output


@pytest.mark.skipif(
    "IMAGE_BUILDER_TEST_REGISTRY" in os.environ, reason="hello.yaml names the product's own registry"
)
def test_the_first_command_of_the_readme_builds_the_samples(machine: Machine, engine: Engine) -> None:
    folder = machine.folder / "first"
    folder.mkdir()
    outcome = Run(
        [str(ROOT / "image-builder-cli.sh"), "inputs/hello.yaml"], folder, ROOT, machine.environment
    )
    finished = outcome.finish(600)
    assert finished.status == 0, finished.output
    registry = Registry("127.0.0.1:5000")
    for tag in ("alpine", "debian"):
        image = Image(engine, registry, "samples/hello", tag)
        assert image.digest in finished.stdout
        for platform, machine_name in (("linux/amd64", "x86_64"), ("linux/arm64", "aarch64")):
            assert image.read("/hello/greeting.txt", platform) == f"Hello from {machine_name}.\n"
