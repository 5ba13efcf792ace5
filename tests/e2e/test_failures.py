# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Whatever is wrong, the user gets one clear error with its place, and nothing stays behind.

The fixture ``machine`` checks after each test that no workspace, credential or process is left.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import GitSite
from tests.support.disk import small_disk
from tests.support.images import Image
from tests.support.payloads import document
from tests.support.registry import Registry, free_port
from tests.support.repositories import GENERIC_REPO, repository
from tests.support.run import DOORS, Machine


@pytest.fixture
def plain(engine: Any) -> Registry:
    """The engine's own registry, which needs no account."""
    return Registry(engine.registry)


@pytest.mark.parametrize("door", DOORS)
def test_every_fault_of_a_document_is_reported_at_once_with_its_path(door: str, machine: Machine) -> None:
    wanted: dict[str, Any] = {
        "source": {"git_repo": {"urll": "https://example.org/a.git", "version": 3.10, "workdir": "../up"}},
        "target": {
            "images": [
                {"tag": "1"},
                {"image": "Upper", "tag": "-x", "platforms": ["linux/", "linux/amd64", "linux/x86_64"]},
                {"image": "a", "build_args": ["A=1"], "no_cache": "yes"},
                {"image": "b"},
                {"image": "b", "tag": "latest"},
            ],
            "registry": {"url": "http://not a host/", "username": "user"},
        },
        "options": {"biulder": "x"},
    }
    machine.build_fails(
        *(door, wanted),
        "source.git_repo.url: is missing",
        "source.git_repo.urll: unknown key; did you mean 'url'?",
        "source.git_repo.version: expected text",
        "source.git_repo.workdir:",
        "target.images[0].image: is missing",
        "target.images[1].image: 'Upper'",
        "target.images[1].tag: '-x'",
        "target.images[1].platforms[0]: 'linux/'",
        "target.images[1].platforms[2]: linux/amd64 is listed twice",
        "target.images[2].build_args: expected a mapping",
        "target.images[2].no_cache: expected true or false",
        "target.registry.url:",
        "target.registry.password: is missing",
        "options.biulder: unknown key; did you mean 'builder'?",
    )


def test_a_document_without_its_parts_is_refused(machine: Machine) -> None:
    machine.build_fails("ansible-playbook", {}, "source: is missing", "target: is missing")


def test_two_images_with_one_reference_are_refused(machine: Machine, plain: Registry) -> None:
    twice = document(
        plain, {"url": "https://example.org/a.git"}, {"image": "b"}, {"image": "b", "tag": "latest"}
    )
    machine.build_fails("ansible-playbook", twice, "target.images[1]", f"{plain.address}/b:latest")


@dataclass(frozen=True)
class Case:
    """A repository's files or a document that cannot work, and what its error must say."""

    says: tuple[str, ...]
    dockerfile: str = GENERIC_REPO["Dockerfile"]
    image: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    doors: tuple[str, ...] = ("ansible-playbook",)


CASES = {
    "no such ref": Case(("no-such-branch",), source={"version": "no-such-branch"}),
    "no Dockerfile": Case(("elsewhere/Dockerfile",), source={"dockerfile": "elsewhere/Dockerfile"}),
    "no working directory": Case(("nowhere",), source={"workdir": "nowhere"}),
    "unknown instruction": Case(
        ("wrong/app:1", "line 2", "COPYY"), "FROM python:3.6-alpine\nCOPYY . /app\n", doors=DOORS
    ),
    "empty Dockerfile": Case(("Dockerfile",), "# nothing\n"),
    "missing file to copy": Case(
        ("wrong/app:1", "line 2", "missing.txt"), "FROM python:3.6-alpine\nCOPY missing.txt /\n"
    ),
    "failing RUN": Case(
        ("wrong/app:1", "line 3", "no space in the kitchen"),
        "FROM python:3.6-alpine\n\nRUN echo no space in the kitchen >&2 && exit 7\n",
        doors=DOORS,
    ),
    "failing RUN on one platform": Case(
        ("wrong/app:1", "linux/arm64", "line 2"),
        'FROM python:3.6-alpine\nRUN [ "$(uname -m)" != aarch64 ]\n',
        {"platforms": ["linux/amd64", "linux/arm64"]},
    ),
    "no such base": Case(("wrong/app:1", "no-such-base:9"), "FROM no-such-base:9\n"),
    "base without the platform": Case(
        ("wrong/app:1", "linux/riscv64", "python:3.6-alpine"), image={"platforms": ["linux/riscv64"]}
    ),
    "override that matches nothing": Case(
        ("wrong/app:1", "python:3.6-alpine", "golang"), image={"base": {"golang": "alpine"}}, doors=DOORS
    ),
    "no such stage": Case(("wrong/app:1", "tests"), image={"target": "tests"}),
}


@pytest.mark.parametrize(
    ("door", "case"),
    [pytest.param(door, case, id=f"{name}-{door}") for name, case in CASES.items() for door in case.doors],
)
def test_what_cannot_be_built_is_named_with_its_place(
    door: str, case: Case, machine: Machine, plain: Registry, tmp_path: Path
) -> None:
    repository(tmp_path / "repository", {**GENERIC_REPO, "Dockerfile": case.dockerfile})
    source = {"url": f"file://{tmp_path}/repository", **case.source}
    machine.build_fails(
        door, document(plain, source, {"image": "wrong/app", "tag": "1", **case.image}), *case.says
    )
    assert "wrong/app" not in plain.repositories()


def test_one_image_that_fails_does_not_keep_the_others_from_the_registry(
    machine: Machine, local_registry: Registry, engine: Any, tmp_path: Path
) -> None:
    machine.secrets.append(local_registry.password)
    dockerfile = 'FROM python:3.6-alpine\nARG BREAK\nRUN [ -z "$BREAK" ] || exit 9\n'
    repository(tmp_path / "repository", {**GENERIC_REPO, "Dockerfile": dockerfile})
    good, bad = {"image": "half/good"}, {"image": "half/bad", "build_args": {"BREAK": "yes"}}
    wanted = document(local_registry, {"url": f"file://{tmp_path}/repository"}, good, bad)
    outcome = machine.build_fails("ansible-playbook", wanted, "half/bad", "line 3")

    assert Image(engine, local_registry, "half/good").base() == "python:3.6-alpine"
    assert "half/bad" not in local_registry.repositories()
    assert [entry["state"] for entry in outcome.images] == ["success", "failed"]


@pytest.mark.parametrize("door", DOORS)
def test_a_repository_at_an_unreachable_host_is_named(door: str, machine: Machine, plain: Registry) -> None:
    url = f"http://127.0.0.1:{free_port()}/a.git"
    machine.build_fails(door, document(plain, {"url": url}, {"image": "wrong/app"}), url)


def test_a_repository_that_does_not_exist_is_named(machine: Machine, plain: Registry, git: GitSite) -> None:
    url = f"{git.public}/no-such-repository.git"
    machine.build_fails("ansible-playbook", document(plain, {"url": url}, {"image": "wrong/app"}), url)


@pytest.mark.parametrize("door", DOORS)
def test_a_registry_that_is_down_is_named(door: str, machine: Machine, git: GitSite) -> None:
    down = Registry(f"127.0.0.1:{free_port()}")
    wanted = document(down, {"url": f"{git.public}/generic_repo.git"}, {"image": "wrong/app"})
    machine.build_fails(door, wanted, down.address)


@pytest.mark.parametrize("door", DOORS)
def test_a_full_disk_is_named(door: str, machine: Machine, plain: Registry, tmp_path: Path) -> None:
    big = {f"big-{n}": os.urandom(1 << 20).hex() for n in range(3)}
    repository(tmp_path / "repository", {**GENERIC_REPO, **big})
    wanted = document(plain, {"url": f"file://{tmp_path}/repository"}, {"image": "wrong/app"})
    with small_disk(tmp_path / "small", 2) as disk:
        machine.build_fails(
            door, {**wanted, "custom_workdir": str(disk.folder)}, "no space left", "custom_workdir"
        )
        assert disk.content == []
