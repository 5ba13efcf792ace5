# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A command imports and starts what it needs and no more: that is most of what a short one takes."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest

from tests.support.payloads import document
from tests.support.registry import Registry, registry
from tests.support.repositories import repository
from tests.support.run import VENV, Machine, Run

# Each with all that is in it.
_ENGINE_ROOM = "ansible_collections.sodalite.image_builder.plugins.module_utils"
_FOR_WORK = (
    "ansible_collections",
    "image_builder.documents",
    "image_builder.playbooks",
    "image_builder.terminal.ending",
    "image_builder.terminal.live",
    "image_builder.terminal.tables",
    "rich",
    "ssl",
    "urllib3",
    "yaml",
)
_FOR_BUILDING = (
    *(
        f"{_ENGINE_ROOM}.{name}"
        for name in (
            "build.bake_file",
            "build.bake_run",
            "build.buildkit_errors",
            "build.buildkit_progress",
            "build.stored_image",
            "machine",
            "oci.layout",
            "registry.confirm",
            "registry.delete",
            "registry.push",
            "sources.archive",
            "sources.dockerignore",
            "sources.download",
            "sources.git.checkout",
            "sources.git.large_files",
            "sources.go_expression",
            "sources.locate",
            "sources.remote_state",
            "sources.snapshot",
            "sources.standalone_dockerfile",
        )
    ),
    "docker",
    "image_builder.documents.convert",
    "image_builder.playbooks.follow",
    "image_builder.playbooks.opera",
    "image_builder.playbooks.set_up",
    "jinja2",
    "requests",
    "rich.live",
    "tarfile",
    "yaml",
)
_PROGRAM = """\
import atexit, json, os, sys
from pathlib import Path
started = []
sys.addaudithook(lambda event, about: event == "subprocess.Popen" and started.append(list(about[1])))
atexit.register(lambda: Path(os.environ["TRACE"]).write_text(json.dumps([list(sys.modules), started])))
from image_builder.__main__ import main
main()
"""


def traced(machine: Machine, *arguments: str) -> tuple[list[str], list[list[str]]]:
    """The names of all modules that a command has imported when it ends, and the programs that it started."""
    folder = machine.folder / uuid.uuid4().hex
    folder.mkdir()
    argv = [str(VENV / "bin" / "python"), "-c", _PROGRAM, *arguments]
    trace = folder / "trace.json"
    ended = Run(argv, folder, folder, {**machine.environment, "TRACE": str(trace)}).finish()
    assert ended.status == 0, ended.output
    names, programs = json.loads(trace.read_text(encoding="utf-8"))
    return names, programs


def among(names: list[str], unwanted: tuple[str, ...]) -> list[str]:
    return [name for name in names if any(f"{name}.".startswith(f"{package}.") for package in unwanted)]


@pytest.mark.parametrize("arguments", [["--help"], ["build", "--help"], ["engine", "--help"]], ids=" ".join)
def test_help_imports_nothing_that_does_the_work(arguments: list[str], machine: Machine) -> None:
    names, programs = traced(machine, *arguments)
    assert "typer" in names
    assert (among(names, _FOR_WORK), programs) == ([], [])


def test_where_nothing_changed_nothing_is_imported_or_started_that_builds(
    machine: Machine, local_registry: Registry, tmp_path: Path
) -> None:
    machine.secrets.append(local_registry.password)
    repository(tmp_path / "repository", {"Dockerfile": "FROM alpine\nCOPY app.txt /\n", "app.txt": "1"})
    wanted = document(
        local_registry,
        {"url": f"file://{tmp_path}/repository"},
        {"image": f"imports/{uuid.uuid4().hex[:12]}", "tag": "1"},
    )
    inputs = str(machine.own_file("inputs.json", json.dumps(wanted)))

    names, programs = traced(machine, "build", inputs)
    assert f"{_ENGINE_ROOM}.build.bake_run" in names
    assert any("bake" in program for program in programs)

    names, programs = traced(machine, "build", inputs)
    assert f"{_ENGINE_ROOM}.build.unchanged" in names
    assert among(names, _FOR_BUILDING) == []
    ours = {"git", "watchman"}
    assert [argv for argv in programs if not ours & {Path(word).name for word in argv}] == []


def test_a_playbook_runs_one_module(machine: Machine, tmp_path: Path) -> None:
    repository(tmp_path / "repository", {"Dockerfile": "FROM alpine\nCOPY app.txt /\n", "app.txt": "1"})
    # Ansible tells of each module with its arguments, so there is no secret here.
    with registry(tmp_path / "registry") as made:
        wanted = document(made, {"url": f"file://{tmp_path}/repository"}, {"image": "app", "tag": "1"})
        for state in ("success", "unchanged"):
            built = machine.build("ansible-playbook", wanted, "-vvv")
            assert [image["state"] for image in built.images] == [state], built.output
            modules = re.findall(r"^Using module file (\S+)", built.output, re.MULTILINE)
            assert [Path(module).name for module in modules] == ["images.py"]
