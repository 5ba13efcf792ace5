# Copyright the image-builder authors. Apache-2.0 (see LICENSE).

from __future__ import annotations

from collections.abc import Mapping
from typing import Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.overrides import bases
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.stages import (
    Resolution,
    resolve,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform

NATIVE = Platform("linux", "amd64")
ARM = Platform("linux", "arm64")


def resolved(
    text: str,
    build_args: Optional[Mapping[str, str]] = None,
    platform: Platform = ARM,
    target: Optional[str] = None,
) -> Resolution:
    dockerfile = parse(text)
    resolution = resolve(
        dockerfile, build_args=build_args or {}, platform=platform, build_platform=NATIVE, target=target
    )
    bases(dockerfile, [resolution], None)
    return resolution


def used(resolution: Resolution) -> list[tuple[int, str]]:
    return [(stage.stage.index, str(stage.image or stage.parent)) for stage in resolution.stages]


def base(text: str, build_args: Optional[Mapping[str, str]] = None, platform: Platform = ARM) -> str:
    return resolved(text, build_args, platform).target.base


@pytest.mark.parametrize(
    ("text", "build_args", "expected"),
    [
        ("ARG A=alpine\nFROM $A", {}, "alpine"),
        ("ARG A=alpine\nFROM $A", {"A": "golang"}, "golang"),
        ("ARG A\nFROM ${A:-alpine}", {}, "alpine"),
        ("ARG A\nFROM ${A:-alpine}", {"A": "golang"}, "golang"),
        ("FROM ${A:-alpine}", {"A": "golang"}, "alpine"),
        ("ARG A=alpine\nARG A\nFROM $A", {}, "alpine"),
        ("ARG A=alpine B=$A:3 A=golang\nFROM $A-$B", {}, "golang-alpine:3"),
        ("ARG A=$B B=x\nFROM a$A", {}, "a"),
        ("ARG A='$b' B=x\nFROM ${A#?}", {}, "b"),
        ("ARG A=$A-x\nFROM a$A", {"A": "y"}, "ay"),
        ('ARG A="al"pi\'ne\'\nFROM "$A"', {}, "alpine"),
        ("# escape=`\nARG A=al`pine\nFROM $A", {}, "alpine"),
    ],
)
def test_a_base_expands_with_the_global_arguments_in_effect(
    text: str, build_args: Mapping[str, str], expected: str
) -> None:
    assert base(text, build_args) == expected


def test_the_predefined_platform_arguments_follow_the_platform_that_is_built() -> None:
    text = "FROM x-$TARGETPLATFORM/$TARGETOS/$TARGETARCH/a$TARGETVARIANT/$BUILDPLATFORM/$BUILDOS/$BUILDARCH"
    assert base(text, platform=Platform.parse("arm")) == (
        "x-linux/arm/v7/linux/arm/av7/linux/amd64/linux/amd64"
    )


def test_build_args_and_global_arguments_override_predefined_ones() -> None:
    assert base("FROM a-$TARGETARCH", {"TARGETARCH": "mine"}) == "a-mine"
    assert base("ARG TARGETARCH=mine\nFROM a-$TARGETARCH") == "a-mine"
    assert base("ARG TARGETARCH\nFROM a-$TARGETARCH") == "a-arm64"


@pytest.mark.parametrize(
    ("target", "expected"), [(None, "last"), ("first", "first"), ("FIRST", "first"), ("0", "first")]
)
def test_targetstage_is_the_name_of_the_target(target: Optional[str], expected: str) -> None:
    resolution = resolved("FROM x-$TARGETSTAGE AS first\nFROM x-$TARGETSTAGE AS last\n", target=target)
    assert resolution.target.base == f"x-{expected}"


def test_an_unnamed_last_stage_makes_targetstage_default() -> None:
    assert base("FROM x-$TARGETSTAGE") == "x-default"


def test_only_stages_that_the_target_needs_are_used() -> None:
    text = (
        "FROM one AS a\nFROM two AS b\nFROM three AS c\nFROM a AS d\n"
        "FROM four AS e\nCOPY --from=D /x /x\nRUN --mount=from=b,target=/m true\nFROM five AS f\n"
    )
    names = {"one": "docker.io/library/one:latest", "two": "docker.io/library/two:latest"}
    assert used(resolved(text, target="e")) == [
        (0, names["one"]),
        (1, names["two"]),
        (3, "0"),
        (4, "docker.io/library/four:latest"),
    ]
    assert used(resolved(text)) == [(5, "docker.io/library/five:latest")]


def test_a_stage_is_copied_from_by_index_but_mounted_by_name_only() -> None:
    text = "FROM one\nFROM two\nCOPY --from=+0 /x /x\nRUN --mount=from=0,target=/m true\n"
    resolution = resolved(text)
    assert [index for index, _ in used(resolution)] == [0, 1]
    assert [(str(image.reference), image.flag.line) for image in resolution.images] == [
        ("docker.io/library/0:latest", 4)
    ]


def test_a_name_of_an_earlier_stage_shadows_an_image_and_of_a_later_one_does_not() -> None:
    text = "FROM alpine AS alpine\nFROM alpine AS golang\nFROM golang AS other\n"
    stages = resolved(text + "FROM last AS scratch\nFROM scratch\nCOPY --from=other /x /x\n")
    assert used(stages) == [
        (0, "docker.io/library/alpine:latest"),
        (1, "0"),
        (2, "1"),
        (3, "docker.io/library/last:latest"),
        (4, "3"),
    ]
    assert used(resolved("FROM later\nFROM alpine AS later\nCOPY --from=0 / /"))[0] == (
        0,
        "docker.io/library/later:latest",
    )


def test_of_two_stages_with_one_name_from_takes_the_earlier_and_copy_the_last() -> None:
    text = "FROM one AS a\nFROM a AS b\nFROM two AS a\nFROM b\nCOPY --from=a /x /x\n"
    assert [index for index, _ in used(resolved(text))] == [0, 1, 2, 3]
    assert resolved(text, target="b").stages[0].base == "one"


def test_a_base_may_be_a_stage_on_one_platform_and_an_image_on_another() -> None:
    text = "FROM alpine AS base-arm64\nFROM base-$TARGETARCH\n"
    assert resolved(text).target.parent == 0
    assert str(resolved(text, platform=NATIVE).target.image) == "docker.io/library/base-amd64:latest"


def test_each_stage_has_the_platform_that_its_steps_run_on() -> None:
    text = (
        "FROM --platform=$BUILDPLATFORM one AS a\n"
        "FROM --platform=linux/s390x a AS b\n"
        "FROM --platform=linux/s390x scratch AS c\n"
        "FROM --platform=armhf two AS d\n"
        "FROM --platform=windows three AS e\n"
        "FROM four\nCOPY --from=b / /\nCOPY --from=c / /\nCOPY --from=d / /\nCOPY --from=e / /\n"
    )
    assert [str(stage.platform) for stage in resolved(text).stages] == [
        "linux/amd64",
        "linux/amd64",
        "linux/arm64",
        "linux/arm/v7",
        "windows/amd64",
        "linux/arm64",
    ]


def test_onbuild_acts_in_the_stages_that_start_from_its_stage() -> None:
    text = (
        "FROM one AS a\nONBUILD RUN true\nONBUILD COPY --from=golang /x /x\nONBUILD COPY --from=c /x /x\n"
        "FROM two AS c\nFROM a AS b\nFROM b AS d\n"
    )
    alone = resolved(text, target="a")
    assert (alone.target.runs, alone.images, len(alone.stages)) == (False, (), 1)
    child = resolved(text, target="b")
    assert child.target.runs
    assert [image.flag.name for image in child.images] == ["golang"]
    assert [stage.stage.name for stage in child.stages] == ["a", "c", "b"]
    assert not resolved(text, target="d").target.runs


def test_images_that_are_only_copied_from_are_told_apart_from_bases() -> None:
    text = (
        "FROM one\nCOPY --from=busybox:1 /a /a\nFROM two\nRUN --mount=from=scratch true\nCOPY --from=x /a /a"
    )
    resolution = resolved(text, target=None)
    assert [
        (image.flag.name, str(image.reference), image.platform, image.flag.line)
        for image in resolution.images
    ] == [("x", "docker.io/library/x:latest", ARM, 5)]


def test_the_foundation_is_where_the_target_goes_back_to() -> None:
    assert resolved("FROM one AS a\nFROM a AS b\nFROM two\nFROM b").foundation().base == "one"
    assert resolved("FROM one AS a\nFROM scratch").foundation().base == "scratch"


@pytest.mark.parametrize(
    ("target", "name", "index"),
    [(None, None, 2), ("", None, 2), ("b", "b", 1), ("B", "b", 1), ("1", "b", 1), ("2", None, 2)],
)
@pytest.mark.parametrize("last", ["FROM z", "FROM z AS last"])
def test_a_target_is_a_name_or_an_index_and_buildkit_gets_the_name(
    target: Optional[str], name: Optional[str], index: int, last: str
) -> None:
    resolution = resolved(f"FROM x\nFROM y AS b\n{last}", target=target)
    assert (resolution.target_name, resolution.target.stage.index) == (name, index)


def failure(text: str, **more: Optional[str]) -> DockerfileError:
    with pytest.raises(DockerfileError) as caught:
        resolved(text, **more)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("target", ["c", "3", "-1", "99999999999999999999", "alpine"])
def test_an_unknown_target_lists_the_stages(target: str) -> None:
    error = failure("FROM alpine\nFROM $A AS b\nFROM z", target=target)
    assert error.code == "unknown_target"
    assert "stage 0 on line 1 starts from alpine; stage 1 (b) on line 2 starts from $A" in error.hint


def test_a_stage_that_buildkit_cannot_name_is_no_target() -> None:
    assert failure("FROM alpine\nFROM z", target="0").code == "target_without_name"
    assert failure("FROM alpine AS a\nFROM z AS a", target="0").code == "target_without_name"


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("ARG A\nFROM $A\n", "dockerfile_empty_base", 2),
        ("FROM x\nFROM ''\nFROM y\n", "dockerfile_empty_base", 2),
        ("FROM ${A:?give}\n", "dockerfile_expansion", 1),
        ("\nARG A=${B^^}\nFROM x\n", "dockerfile_expansion", 2),
        ("FROM x AS a\nCOPY --from=b /x /x\nFROM a AS b\n", "dockerfile_circle", 1),
        (
            "FROM x\nFROM x AS a\nCOPY --from=2 /x /x\nFROM x\nRUN --mount=from=a,target=/m true\n",
            "dockerfile_circle",
            2,
        ),
        ("FROM Alpine\nFROM x\n", "dockerfile_reference", 1),
        ("FROM x AS build\nFROM Build\n", "dockerfile_reference", 2),
        ("FROM alpine@sha256:0123\n", "dockerfile_reference", 1),
        (f"FROM {'a' * 64}\n", "dockerfile_reference", 1),
        ("FROM --platform=$X x\n", "dockerfile_platform", 1),
        ("FROM --platform=a/b/c/d x\n", "dockerfile_platform", 1),
        ("FROM x\nCOPY --from=$X /a /a\n", "dockerfile_reference", 2),
        ("FROM x\nCOPY --from=X /a /a\nFROM y\n", "dockerfile_reference", 2),
        ("FROM x\n\nRUN --mount=from=X,target=/a true\n", "dockerfile_reference", 3),
    ],
)
def test_what_cannot_be_resolved_is_explained_with_its_line(text: str, code: str, line: int) -> None:
    error = failure(text)
    assert (error.code, error.line) == (code, line)
    assert error.hint


def test_a_condition_of_the_dockerfile_gives_its_own_message() -> None:
    assert "A: give" in failure("FROM ${A:?give}\n").message


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\x1b[31m",
        "FROM x AS a\nFROM \x1b$X",
        "FROM ${X\x1b}",
        "FROM --platform=\x1b x",
        "FROM a" + "A" * 9999,
    ],
)
def test_errors_are_short_and_print_no_control_characters_of_a_hostile_file(text: str) -> None:
    error = str(failure(text))
    assert error.isprintable()
    assert len(error) < 600
