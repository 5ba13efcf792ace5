# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The documents that users already send become the images that they ask for, through each door."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from image_builder.documents.read import parse
from tests.support.engine import Engine
from tests.support.examples import EXAMPLES, WAYS, Builds, Way
from tests.support.images import Image
from tests.support.run import DOORS, ROOT, Machine

ALL_SEVEN = [
    *("linux/386", "linux/amd64", "linux/arm/v6", "linux/arm/v7"),
    *("linux/arm64", "linux/ppc64le", "linux/s390x"),
]
FOUR = ["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64"]

PAYLOADS = sorted(path.stem for path in (ROOT / "tests" / "conformance" / "payloads").iterdir())

Pushed = Callable[[str, str], Image]


@pytest.fixture(params=DOORS)
def way(request: pytest.FixtureRequest) -> Way:
    """Each door, with one of the formats."""
    return str(request.param), "yaml"


@pytest.fixture
def pushed(way: Way, engine: Engine, builds: Builds) -> Pushed:
    return lambda repository, tag: Image(engine, builds.registry(way), repository, tag)


def test_a_git_repository_becomes_an_image_that_is_reported_and_not_built_again(
    way: Way, machine: Machine, builds: Builds, pushed: Pushed
) -> None:
    (first,) = builds.images(machine, way, "git")
    image = pushed("repository/git", "latest")

    assert list(image.platforms()) == ["linux/amd64"]
    assert image.read("/app/app.py") == "print('generic_repo')\n"
    assert image.base() == "python:3.6-alpine"
    assert first["reference"] == image.reference
    assert first["digest"] == image.digest
    assert first["state"] == "success"
    assert first["changed"] is True

    (second,) = builds.run(machine, way, "git")
    assert second["digest"] == first["digest"]
    assert second["changed"] is False


def test_variants_of_one_repository_stand_on_their_own_bases(
    way: Way, machine: Machine, builds: Builds, pushed: Pushed
) -> None:
    reported = builds.images(machine, way, "git_image_variants")
    images = [pushed("repository/image_variants", tag) for tag in ("latest", "python-3.8")]

    assert [image.base() for image in images] == ["python:3.6-alpine", "python:3.8-alpine"]
    assert [image.read("/arch") for image in images] == ["x86_64\n", "x86_64\n"]
    assert [entry["digest"] for entry in reported] == [image.digest for image in images]


def test_a_private_repository_is_built_from_its_dockerfile_and_working_directory(
    way: Way, machine: Machine, builds: Builds, pushed: Pushed
) -> None:
    builds.images(machine, way, "git_options")
    image = pushed("repository/git", "additional_options")

    assert image.read("/code/main.py") == "print('generic-repo-2')\n"
    listed = image.run("/bin/busybox", "find", "/code", "-type", "f").decode().split()
    assert sorted(listed) == ["/code/lib/part.py", "/code/main.py"]


def test_seven_platforms_run_in_one_index(way: Way, machine: Machine, builds: Builds, pushed: Pushed) -> None:
    (reported,) = builds.images(machine, way, "multi_arch")
    image = pushed("repository/platforms", "latest")

    assert sorted(image.platforms()) == ALL_SEVEN
    assert {entry["platform"]: entry["digest"] for entry in reported["platforms"]} == image.platforms()
    for platform in ALL_SEVEN:
        image.assert_runs_as(platform)


def test_variants_have_their_own_platforms(
    way: Way, machine: Machine, builds: Builds, pushed: Pushed
) -> None:
    builds.images(machine, way, "multi_arch_image_variants")
    default = pushed("repository/image_variants_platforms", "latest")
    other = pushed("repository/image_variants_platforms", "python-3.8")

    assert sorted(default.platforms()) == ALL_SEVEN
    assert sorted(other.platforms()) == FOUR
    assert default.base("linux/arm64") == "python:3.6-alpine"
    for platform in FOUR:
        assert other.base(platform) == "python:3.8-alpine"
        other.assert_runs_as(platform)


def test_a_dockerfile_by_itself_is_built_with_the_context_that_the_document_names(
    way: Way, machine: Machine, builds: Builds, pushed: Pushed
) -> None:
    def files(image: Image) -> list[str]:
        listed = image.run("/bin/busybox", "find", "/code", "-type", "f").decode().split()
        return sorted(path.removeprefix("/code/") for path in listed)

    for name in ("dockerfile", "dockerfile_build_context", "dockerfile_subdir_context"):
        (reported,) = builds.images(machine, way, name)
        assert reported["state"] == "success"
    alone, context, subdir = (
        pushed(f"repository/{name}", "latest") for name in ("no_context", "build-context", "subdir_context")
    )
    assert files(alone) == []
    assert files(context) == [".dockerignore", "app.py", "lib/part.py"]
    assert files(subdir) == ["Dockerfile", "a.txt"]
    assert subdir.read("/code/Dockerfile") == "the repository's own\n"


@pytest.mark.parametrize("name", PAYLOADS)
def test_every_door_and_every_format_give_the_same_digests(
    name: str, machine: Machine, builds: Builds, engine: Engine
) -> None:
    # Each way pushes to a registry of its own, so nothing is there already.
    found = {}
    for way in WAYS:
        images = builds.images(machine, way, name)
        assert {image["state"] for image in images} == {"success"}, way
        for image in images:
            held = Image(engine, builds.registry(way), image["image"], image["tag"])
            assert (image["digest"], image["platforms"]) == (held.digest, platforms(held)), way
        found[way] = [(image["image"], image["tag"], image["digest"]) for image in images]
    assert len({tuple(images) for images in found.values()}) == 1, found


def platforms(image: Image) -> list[dict[str, str]]:
    return [{"platform": name, "digest": digest} for name, digest in image.platforms().items()]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_becomes_the_images_that_it_asks_for(
    path: Path, machine: Machine, builds: Builds, engine: Engine
) -> None:
    way = ("image-builder", path.suffix[1:])
    document = parse(path)
    target = document["target"]
    registry = builds.registry(way, private="username" in target["registry"])
    reported = builds.images(machine, way, path.stem)
    for entry, wanted in zip(reported, target["images"], strict=True):
        tags = [*([wanted["tag"]] if "tag" in wanted else []), *wanted.get("tags", [])]
        for tag in tags:
            image = Image(engine, registry, wanted["image"], tag)
            assert image.digest == entry["digest"]
            asked = wanted.get("platforms", image.platforms())
            assert sorted(image.platforms()) == sorted(asked)
    if "provenance" not in document.get("options", {}):  # with one, every build has a digest of its own
        other = builds.images(machine, ("image-builder", "json" if way[1] == "yaml" else "yaml"), path.stem)
        assert [entry["digest"] for entry in reported] == [entry["digest"] for entry in other]


def test_an_image_is_what_its_options_say(machine: Machine, builds: Builds, engine: Engine) -> None:
    way = ("image-builder", "yaml")
    builds.images(machine, way, "image_options")
    image = Image(engine, builds.registry(way), "team/app", "1.2")
    assert image.base() == "debian:bookworm"
    assert image.read("/version") == "1.2.0\n"
    assert image.config()["config"]["Labels"]["org.example.team"] == "builders"
    assert image.annotations["org.example.ticket"] == "APP-42"
    assert "team/app-cache" in builds.registry(way).repositories()


def test_an_archive_and_a_local_folder_bring_what_they_hold(
    machine: Machine, builds: Builds, engine: Engine
) -> None:
    way = ("image-builder", "yaml")
    expected = {"tar": "print('archive')\n", "dockerfile_local_context": "print('local')\n"}
    for name, text in expected.items():
        (entry, *_) = builds.images(machine, way, name)
        image = Image(engine, builds.registry(way), entry["image"], "latest")
        assert image.read("/code/main.py") == text
