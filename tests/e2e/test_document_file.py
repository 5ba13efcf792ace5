# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A file that somebody else wrote, given to ansible-playbook: it is data, and none of its keys a variable."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.payloads import document
from tests.support.registry import Registry
from tests.support.repositories import repository
from tests.support.run import DOORS, Machine, Outcome, Run

Play = Callable[..., Outcome]

#: Keys with which a file that Ansible reads as variables ran commands, or took the place of a result.
TOP = (
    *("build_host", "build_document", "build_source", "build_images", "build_result", "build_planned"),
    *("ansible_connection", "ansible_python_interpreter", "ansible_remote_tmp", "ansible_host"),
    *("ansible_shell_executable", "ansible_become", "ansible_become_exe", "ansible_pipelining"),
    *("ansible_check_mode", "ansible_local_temp", "hostvars", "item", "document", "workspace", "omit"),
)


@pytest.fixture
def play(machine: Machine) -> Play:
    """Runs the playbook in the folder of the machine."""

    def run(*arguments: str) -> Outcome:
        argv = ["ansible-playbook", "sodalite.image_builder.build", *arguments]
        folder = machine.folder / "play"
        folder.mkdir(exist_ok=True)
        result = machine.folder / "result.json"
        env = {**machine.environment, "IMAGE_BUILDER_RESULT": str(result)}
        done = Run(argv, folder, machine.folder, env).finish()
        images = json.loads(result.read_bytes()).get("images", []) if result.exists() else []
        return Outcome(done.status, done.stdout, done.stderr, images)

    return run


NULLS = {
    "source": (
        *("version", "username", "password", "ssh_key_file", "ssh_known_hosts_file", "dockerfile", "workdir"),
    ),
    "image": (
        *("tags", "base", "platforms", "build_args", "target", "labels", "annotations", "no_cache", "pull"),
        *("secrets", "cache_from", "cache_to"),
    ),
    "options": (
        *("builder", "rebuild", "on_failure", "timeout", "retry_for", "provenance", "sbom", "delete_images"),
    ),
}


def harmless() -> dict[str, Any]:
    """A document without a fault, which reaches no server."""
    return document(Registry("127.0.0.1:1"), {"url": "https://127.0.0.1:1/a.git"}, {"image": "a"})


@pytest.mark.parametrize("check", [(), ("--check",)], ids=["for real", "check"])
def test_no_key_of_a_file_is_a_variable(check: tuple[str, ...], machine: Machine, play: Play) -> None:
    canary = machine.folder / "canary"
    run = f"{{{{ lookup('pipe', 'touch {canary}') }}}}"
    hostile = {**harmless(), **dict.fromkeys(TOP, run), run: run}
    (machine.folder / "a.json").write_text(json.dumps(hostile))
    outcome = play(*check, "-e", "document=a.json")
    assert outcome.status != 0
    for name in (*TOP, run):
        assert f"{name}: unknown key" in outcome.output, outcome.output
    assert not canary.exists()


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_file_is_found_from_the_callers_folder_for_whatever_host_builds(
    suffix: str, machine: Machine, play: Play
) -> None:
    canary = machine.folder / "canary"
    wanted = harmless()
    wanted["target"]["images"][0]["labels"] = {"a": f"{{{{ lookup('pipe', 'touch {canary}') }}}}"}
    path = machine.folder / "of mine" / f"a.{suffix}"
    path.parent.mkdir()
    path.write_text(json.dumps(wanted) if suffix == "json" else yaml.safe_dump(wanted))
    (machine.folder / "hosts").write_text(
        "far ansible_connection=local ansible_python_interpreter='{{ ansible_playbook_python }}'\n"
    )
    given = json.dumps({"document": os.path.relpath(path, machine.folder)})
    outcome = play("-i", "hosts", "-e", given, "-e", "build_host=far", "--check")
    assert "fatal: [far]" in outcome.output
    assert "https://127.0.0.1:1/a.git" in outcome.output, outcome.output
    assert not canary.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("-e", "document=no.yaml"), "No such file or directory (no.yaml)"),
        (("-e", '{"document": {}}'), "document: expected the path of a file"),
        (("-e", "document=a.yaml", "-e", "options={}"), "options: is a variable of the play, beside"),
        (("-e", "document=a.yaml"), "a.yaml: expected a mapping with source and target"),
        ((), "source: is missing"),
    ],
    ids=["missing", "no path", "both", "no document", "nothing"],
)
def test_a_document_that_cannot_be_had_is_told_in_one_sentence(
    arguments: tuple[str, ...], says: str, machine: Machine, play: Play
) -> None:
    (machine.folder / "a.yaml").write_text("- a\n")
    outcome = play(*arguments)
    assert outcome.status != 0
    assert says in outcome.output, outcome.output
    assert "Traceback" not in outcome.output


TWICE = """\
source: {git_repo: {url: "https://127.0.0.1:1/a.git"}}
target:
  images: [{image: cases/first, tag: a}]
  images: [{image: cases/second, tags: [a]}]
  registry: {url: "127.0.0.1:1"}
"""
ODD = """\
source: {git_repo: {url: "https://127.0.0.1:1/a.git"}}
target:
  images:
    - {image: cases/odd, tags: [3.10, 2024-01-01, 0123, yes, 12:30:45], build_args: {A: 0x1F, B: 1_000, C: ~}}
  registry: {url: "127.0.0.1:1"}
"""
#: The commands that read a file by themselves.
READERS = {
    "ansible-playbook": ("ansible-playbook", "sodalite.image_builder.build", "-e", "document=a.yaml"),
    "build": ("image-builder", "build", "a.yaml"),
    "plan": ("image-builder", "plan", "a.yaml"),
    "deploy": ("image-builder", "deploy", "a.yaml"),
}


@pytest.mark.parametrize("reader", READERS)
def test_every_door_that_reads_a_file_refuses_what_it_would_have_to_drop_or_change(
    reader: str, machine: Machine
) -> None:
    texts = {
        TWICE: ("target.images: is given twice, in line 3 column 3 and in line 4 column 3",),
        ODD: (
            "tags[0]: expected text, got 3.10, which is the number 3.1; put it in quotes",
            "tags[1]: expected text, got the date 2024-01-01; put it in quotes",
            "tags[2]: expected text, got 0123, which is the number 83; put it in quotes",
            "tags[3]: expected text, got yes, which is the truth value true; put it in quotes",
            "tags[4]: expected text, got 12:30:45, which is the number 45045; put it in quotes",
            "build_args.A: expected text, got 0x1F, which is the number 31; put it in quotes",
            "build_args.B: expected text, got 1_000, which is the number 1000; put it in quotes",
            "build_args.C: has no value; give one, or leave the key out",
        ),
    }
    for number, (text, says) in enumerate(texts.items()):
        folder = machine.folder / f"reads-{number}"
        folder.mkdir()
        (folder / "a.yaml").write_text(text)
        outcome = Run(list(READERS[reader]), folder, folder, machine.environment).finish()
        assert outcome.status != 0
        told = " ".join(outcome.output.split())
        for sentence in says:
            # Ansible shows a failure as a sentence, and again as data.
            assert 0 < told.count(sentence) <= (3 if reader == "ansible-playbook" else 1), outcome.output


@pytest.mark.parametrize("door", [*DOORS, "-e @FILE"])
def test_every_door_refuses_what_is_no_text(door: str, machine: Machine, play: Play) -> None:
    wanted = harmless()
    wanted["target"]["images"][0]["tags"] = [3.1, True, 83]
    path = machine.folder / "a.json"
    path.write_text(json.dumps(wanted))
    outcome = play("-e", f"@{path}") if door == "-e @FILE" else machine.build(door, wanted)
    assert outcome.status != 0
    for number, kind in enumerate(("the number 3.1", "the truth value true", "the number 83")):
        sentence = f"tags[{number}]: expected text, got {kind}; put it in quotes"
        assert sentence in " ".join(outcome.output.split()), outcome.output


def test_a_date_is_refused_where_another_read_the_file(machine: Machine, play: Play) -> None:
    (machine.folder / "a.yaml").write_text(ODD)
    outcome = play("-e", "@a.yaml")
    assert "tags[1]: expected text, got the date 2024-01-01" in outcome.output, outcome.output


@pytest.mark.parametrize("door", DOORS)
def test_null_for_every_optional_key_builds_what_leaving_it_out_does(
    door: str, machine: Machine, local_registry: Registry, tmp_path: Path
) -> None:
    machine.secrets.append(local_registry.password)
    repository(tmp_path / "repository", {"Dockerfile": "FROM scratch\nCOPY . /\n"})
    source = {"url": f"file://{tmp_path}/repository", **dict.fromkeys(NULLS["source"])}
    image = {"image": "null/left-out", "tag": door, **dict.fromkeys(NULLS["image"])}
    wanted = document(local_registry, source, image)
    wanted.update(options=dict.fromkeys(NULLS["options"]), custom_workdir=None)
    (built,) = machine.build_ok(door, wanted)
    assert built["state"] == "success"
