# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The documents that users already send become the images that they ask for, through each door."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import GitSite
from tests.site import payloads
from tests.site.engine import Engine
from tests.site.files import file_server
from tests.site.images import Image
from tests.site.leaks import new_secret
from tests.site.registry import Registry, registry
from tests.site.run import DOORS, Machine

ALL_SEVEN = [
    *("linux/386", "linux/amd64", "linux/arm/v6", "linux/arm/v7"),
    *("linux/arm64", "linux/ppc64le", "linux/s390x"),
]
FOUR = ["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64"]

MakeDocument = Callable[[str], dict[str, Any]]


@pytest.fixture(scope="module", params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def empty_registry(door: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry for one door, so that no door finds its images already built by another."""
    folder = tmp_path_factory.mktemp("registry")
    with registry(folder, username="user", password=new_secret()) as made:
        yield made


@pytest.fixture
def make(empty_registry: Registry, git: GitSite, machine: Machine) -> MakeDocument:
    def made(name: str) -> dict[str, Any]:
        url = git.private if name == "git_options" else git.public
        return payloads.payload(name, git=url, registry=empty_registry, account=git.account)

    machine.secrets += [empty_registry.password, git.account[1]]
    return made


@pytest.fixture
def pushed(engine: Engine, empty_registry: Registry) -> Callable[[str, str], Image]:
    return lambda repository, tag: Image(engine, empty_registry, repository, tag)


Pushed = Callable[[str, str], Image]


def test_a_git_repository_becomes_an_image_that_is_reported_and_not_built_again(
    door: str, machine: Machine, make: MakeDocument, pushed: Pushed
) -> None:
    document = make("git")
    (first,) = machine.build_ok(door, document)
    image = pushed("repository/git", "latest")

    assert list(image.platforms()) == ["linux/amd64"]
    assert image.read("/app/app.py") == "print('generic_repo')\n"
    assert image.base() == "python:3.6-alpine"
    assert first["reference"] == image.reference
    assert first["digest"] == image.digest
    assert first["state"] == "success"
    assert first["changed"] is True

    if door == "opera":
        # opera itself does nothing on a second deploy; a new deployment asks the engine room.
        machine.forget_deployment()
    (second,) = machine.build_ok(door, document)
    assert second["digest"] == first["digest"]
    assert second["changed"] is False


def test_variants_of_one_repository_stand_on_their_own_bases(
    door: str, machine: Machine, make: MakeDocument, pushed: Pushed
) -> None:
    reported = machine.build_ok(door, make("git_image_variants"))
    images = [pushed("repository/image_variants", tag) for tag in ("latest", "python-3.8")]

    assert [image.base() for image in images] == ["python:3.6-alpine", "python:3.8-alpine"]
    assert [image.read("/arch") for image in images] == ["x86_64\n", "x86_64\n"]
    assert [entry["digest"] for entry in reported] == [image.digest for image in images]


def test_a_private_repository_is_built_from_its_dockerfile_and_working_directory(
    door: str, machine: Machine, make: MakeDocument, pushed: Pushed
) -> None:
    machine.build_ok(door, make("git_options"))
    image = pushed("repository/git", "additional_options")

    assert image.read("/code/main.py") == "print('generic-repo-2')\n"
    listed = image.run("/bin/busybox", "find", "/code", "-type", "f").decode().split()
    assert sorted(listed) == ["/code/lib/part.py", "/code/main.py"]


def test_seven_platforms_run_in_one_index(
    door: str, machine: Machine, make: MakeDocument, pushed: Pushed
) -> None:
    (reported,) = machine.build_ok(door, make("multi_arch"))
    image = pushed("repository/platforms", "latest")

    assert sorted(image.platforms()) == ALL_SEVEN
    assert {entry["platform"]: entry["digest"] for entry in reported["platforms"]} == image.platforms()
    for platform in ALL_SEVEN:
        image.assert_runs_as(platform)


def test_variants_have_their_own_platforms(
    door: str, machine: Machine, make: MakeDocument, pushed: Pushed
) -> None:
    machine.build_ok(door, make("multi_arch_image_variants"))
    default = pushed("repository/image_variants_platforms", "latest")
    other = pushed("repository/image_variants_platforms", "python-3.8")

    assert sorted(default.platforms()) == ALL_SEVEN
    assert sorted(other.platforms()) == FOUR
    assert default.base("linux/arm64") == "python:3.6-alpine"
    for platform in FOUR:
        assert other.base(platform) == "python:3.8-alpine"
        other.assert_runs_as(platform)


@pytest.fixture
def make_with_files(
    empty_registry: Registry, git: GitSite, dockerfiles: Path, machine: Machine
) -> Iterator[MakeDocument]:
    """Documents whose Dockerfile comes by itself, from an open server or one that asks for a password."""
    account = ("username", new_secret())
    machine.secrets += [empty_registry.password, git.account[1], account[1]]
    with (
        file_server(dockerfiles) as public,
        file_server(dockerfiles, username=account[0], password=account[1]) as private,
    ):

        def made(name: str) -> dict[str, Any]:
            logs_in = name == "dockerfile_subdir_context"
            return payloads.payload(
                name,
                git=git.private if logs_in else git.public,
                registry=empty_registry,
                account=git.account,
                files=(private if logs_in else public).url,
                files_account=account,
            )

        yield made


def test_a_dockerfile_by_itself_is_built_with_the_context_that_the_document_names(
    door: str, machine: Machine, make_with_files: MakeDocument, pushed: Pushed
) -> None:
    def files(image: Image) -> list[str]:
        listed = image.run("/bin/busybox", "find", "/code", "-type", "f").decode().split()
        return sorted(path.removeprefix("/code/") for path in listed)

    for name in payloads.DOCKERFILE:
        (reported,) = machine.build_ok(door, make_with_files(name))
        assert reported["state"] == "success"
        if door == "opera":
            machine.forget_deployment()
    alone, context, subdir = (
        pushed(f"repository/{name}", "latest") for name in ("no_context", "build-context", "subdir_context")
    )
    assert files(alone) == []
    assert files(context) == [".dockerignore", "app.py", "lib/part.py"]
    assert files(subdir) == ["Dockerfile", "a.txt"]
    assert subdir.read("/code/Dockerfile") == "the repository's own\n"
