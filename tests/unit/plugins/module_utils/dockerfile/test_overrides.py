# Copyright the image-builder authors. Apache-2.0 (see LICENSE).

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.mounts import mount_fields
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.overrides import Base, bases
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.rewrite import (
    Injection,
    inject,
    rewrite,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.stages import resolve_all
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import Override
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from hypothesis import given
from hypothesis import strategies as st

AMD = Platform("linux", "amd64")
ARM = Platform("linux", "arm64")
TWO_STAGES = "ARG V=1.20\nFROM golang:$V AS build\nRUN true\nFROM alpine\nCOPY --from=build /a /a\n"
THREE_STAGES = (
    "FROM golang AS build\nFROM golang:latest AS tools\nFROM alpine AS base\nFROM base AS final\n"
    "COPY --from=build / /\nCOPY --from=tools / /\nFROM scratch AS last\nCOPY --from=final / /\n"
)


def found(
    text: str,
    override: Optional[Override],
    platforms: Sequence[Platform] = (AMD,),
    build_args: Optional[Mapping[str, str]] = None,
    target: Optional[str] = None,
) -> tuple[Base, ...]:
    dockerfile = parse(text)
    resolutions = resolve_all(
        dockerfile, platforms, build_args=build_args or {}, build_platform=AMD, target=target
    )
    return bases(dockerfile, resolutions, override)


def chosen(text: str, override: Optional[Override], target: Optional[str] = None) -> dict[int, str]:
    """The bases in effect by stage, those of the Dockerfile left out."""
    return {
        base.stage: base.reference.familiar
        for base in found(text, override, target=target)
        if base.overridden
    }


def failure(
    text: str,
    override: Override,
    platforms: Sequence[Platform] = (AMD,),
    target: Optional[str] = None,
) -> DockerfileError:
    with pytest.raises(DockerfileError) as caught:
        found(text, override, platforms, target=target)
    assert caught.value.hint
    return caught.value


def test_without_an_override_the_bases_are_those_of_the_dockerfile() -> None:
    build, final = found(TWO_STAGES, None)
    assert (build.stage, build.stage_name, build.line, build.original) == (0, "build", 2, "golang:1.20")
    assert (str(build.reference), build.overridden) == ("docker.io/library/golang:1.20", False)
    assert (final.stage, final.stage_name, final.line, final.original) == (1, "", 4, "alpine")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM alpine\n", {0: "new"}),
        (TWO_STAGES, {0: "new"}),
        (THREE_STAGES, {0: "new", 1: "new"}),
        ("FROM scratch AS a\nFROM alpine\nCOPY --from=a / /\n", {1: "new"}),
        ("FROM golang AS unused\nFROM alpine\n", {1: "new"}),
        ("FROM alpine AS alpine\nFROM alpine\n", {0: "new"}),
        ("FROM --platform=$BUILDPLATFORM alpine AS a\nFROM alpine\nCOPY --from=a / /", {0: "new", 1: "new"}),
    ],
)
def test_a_plain_reference_replaces_the_first_image_wherever_it_is_the_base(
    text: str, expected: dict[int, str]
) -> None:
    assert chosen(text, "new") == expected
    assert chosen(text, {"first": "new"}) == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({"final": "new"}, {2: "new"}),
        ({"all": "new"}, {0: "new", 1: "new", 2: "new"}),
        ({"build": "new"}, {0: "new"}),
        ({"BUILD": "new"}, {0: "new"}),
        ({"1": "new"}, {1: "new"}),
        ({"01": "new"}, {1: "new"}),
        ({"golang": "new"}, {0: "new", 1: "new"}),
        ({"docker.io/library/golang:latest": "new"}, {0: "new", 1: "new"}),
        ({"index.docker.io/golang": "new"}, {0: "new", 1: "new"}),
        ({"build": "b", "tools": "t", "final": "f"}, {0: "b", 1: "t", 2: "f"}),
    ],
)
def test_every_kind_of_key_replaces_what_it_names(override: Override, expected: dict[int, str]) -> None:
    assert chosen(THREE_STAGES, override, target="final") == expected


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ({"all": "a", "first": "f"}, {0: "f", 1: "f", 2: "a"}),
        ({"first": "f", "golang": "r"}, {0: "r", 1: "r"}),
        ({"golang": "r", "tools": "s"}, {0: "r", 1: "s"}),
        ({"1": "s", "golang": "r", "first": "f", "all": "a"}, {0: "r", 1: "s", 2: "a"}),
        ({"build": "same", "0": "docker.io/library/same"}, {0: "same"}),
        ({"golang": "same", "golang:latest": "same"}, {0: "same", 1: "same"}),
    ],
)
def test_the_more_specific_key_wins_in_any_order(
    override: Mapping[str, str], expected: dict[int, str]
) -> None:
    assert chosen(THREE_STAGES, override, target="final") == expected
    assert chosen(THREE_STAGES, dict(reversed(override.items())), target="final") == expected


@pytest.mark.parametrize(
    "override",
    [
        {"build": "a", "0": "b"},
        {"golang": "a", "golang:latest": "b"},
        {"first": "a", "final": "b"},
    ],
)
def test_two_keys_of_one_rank_must_agree(override: Override) -> None:
    error = failure("FROM golang AS build\n", override)
    assert (error.code, error.line, error.platform) == ("override_ambiguous", 1, "linux/amd64")
    assert "'golang' and" in error.message or "'build' and '0'" in error.message or "'first'" in error.message


def test_a_reference_matches_as_written_and_as_expanded() -> None:
    assert chosen(TWO_STAGES, {"golang:$V": "new"}) == {0: "new"}
    assert chosen(TWO_STAGES, {"golang:1.20": "new"}) == {0: "new"}
    assert failure(TWO_STAGES, {"golang": "new"}).code == "override_matches_nothing"


def test_digest_pins_are_part_of_a_reference() -> None:
    pinned = f"alpine:3.18@sha256:{'a' * 64}"
    assert chosen(f"FROM {pinned}", {pinned: "new"}) == {0: "new"}
    assert chosen(f"FROM {pinned}", "new") == {0: "new"}
    assert failure(f"FROM {pinned}", {"alpine:3.18": "new"}).code == "override_matches_nothing"


def test_words_mean_themselves_even_where_a_stage_is_named_so() -> None:
    text = "FROM golang AS final\nFROM alpine AS first\nCOPY --from=final / /\n"
    assert chosen(text, {"final": "new"}) == {1: "new"}
    assert chosen(text, {"first": "new"}) == {0: "new"}
    assert chosen(text, {"all": "new", "0": "other"}) == {0: "other", 1: "new"}


def test_a_key_that_names_a_stage_and_an_image_means_the_stage() -> None:
    text = "FROM golang AS alpine\nFROM busybox\nCOPY --from=alpine / /\n"
    assert chosen(text, {"alpine": "new"}) == {0: "new"}
    text = "FROM alpine AS a\nFROM a AS alpine\nFROM alpine\n"
    assert failure(text, {"alpine": "new"}).code == "override_of_stage"
    assert chosen(text, {"docker.io/library/alpine": "new"}) == {0: "new"}


def test_a_platform_mapping_changes_the_platforms_it_names() -> None:
    override: Override = {"first": {"arm64": "arm-base"}, "final": {"linux/amd64": "amd-base"}}
    result = {
        (str(b.platform), b.stage): b.reference.familiar for b in found(TWO_STAGES, override, (AMD, ARM))
    }
    assert result == {
        ("linux/amd64", 0): "golang:1.20",
        ("linux/amd64", 1): "amd-base",
        ("linux/arm64", 0): "arm-base",
        ("linux/arm64", 1): "alpine",
    }


def test_where_a_platform_mapping_says_nothing_a_key_of_lower_rank_counts() -> None:
    override: Override = {"build": {"linux/arm64": "b"}, "all": "a"}
    result = {
        (str(b.platform), b.stage): b.reference.familiar for b in found(TWO_STAGES, override, (AMD, ARM))
    }
    assert result[("linux/arm64", 0)] == "b"
    assert result[("linux/amd64", 0)] == "a"


def test_arguments_can_make_the_first_image_another_one_on_each_platform() -> None:
    text = "FROM alpine:$TARGETARCH AS a\nFROM alpine:arm64\nCOPY --from=a / /\n"
    result = {(str(b.platform), b.stage): b.overridden for b in found(text, "new", (AMD, ARM))}
    assert result == {
        ("linux/amd64", 0): True,
        ("linux/amd64", 1): False,
        ("linux/arm64", 0): True,
        ("linux/arm64", 1): True,
    }


def test_a_key_needs_to_match_on_one_platform_only() -> None:
    text = "FROM one AS base-amd64\nFROM two AS base-arm64\nFROM base-$TARGETARCH\n"
    result = {
        (str(b.platform), b.stage): b.overridden for b in found(text, {"base-arm64": "new"}, (AMD, ARM))
    }
    assert result == {("linux/amd64", 0): False, ("linux/arm64", 1): True}


def test_a_base_knows_the_platform_it_is_pulled_for() -> None:
    (base,) = found("FROM --platform=$BUILDPLATFORM golang", None, (ARM,))
    assert (base.platform, base.stage_platform) == (ARM, AMD)


@pytest.mark.parametrize("key", ["nosuch", "7", "alpine:3", "unused", "1", "$V", "Not a reference"])
def test_an_override_that_matches_nothing_lists_what_it_could_match(key: str) -> None:
    text = TWO_STAGES.replace("FROM alpine", "FROM busybox AS unused\nFROM scratch AS x\nFROM alpine AS end")
    error = failure(text + "COPY --from=x / /\n", {key: "new"})
    assert error.code == "override_matches_nothing"
    assert repr(key) in error.message
    assert "stage 0 (build) on line 2 starts from golang:$V (golang:1.20)" in error.hint
    assert "stage 3 (end) on line 6 starts from alpine" in error.hint
    assert "busybox" not in error.hint
    assert "scratch" not in error.hint


@pytest.mark.parametrize("override", [{"0": "new"}, {"a": "new"}, {"final": "new"}, {"scratch": "new"}])
def test_scratch_cannot_be_replaced(override: Override) -> None:
    text = (
        "FROM scratch AS a\n"
        if "final" in override
        else "FROM scratch AS a\nFROM alpine\nCOPY --from=a / /\n"
    )
    error = failure(text, override)
    assert (error.code, error.line) == ("override_of_scratch", 1)


def test_where_all_is_scratch_there_is_nothing_to_replace() -> None:
    assert failure("FROM scratch\n", "new").code == "override_matches_nothing"
    assert failure("FROM scratch\n", {"all": "new"}).code == "override_matches_nothing"


@pytest.mark.parametrize("key", ["b", "1"])
def test_a_stage_that_starts_from_a_stage_is_no_image_to_replace(key: str) -> None:
    error = failure("FROM alpine AS a\nFROM a AS b\n", {key: "new"})
    assert (error.code, error.line) == ("override_of_stage", 2)
    assert "stage 0 (a) on line 1" in error.message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("Not a reference", "base['first'] cannot be used"),
        ({"first": "scratch"}, "is scratch"),
        ({"first": {"linux/arm64": "new"}}, "names linux/arm64, which the image is not built for"),
        ({"first": {"nosuch": "new"}}, "is not a platform"),
        ({"first": {"amd64": "a", "linux/amd64": "b"}}, "two references for linux/amd64"),
    ],
)
def test_a_wrong_value_is_explained(override: Override, message: str) -> None:
    error = failure("FROM alpine\n", override)
    assert error.code == "override_invalid"
    assert message in error.message


def test_rewriting_changes_the_named_bases_and_nothing_else() -> None:
    text = "\ufeff# golang\r\nfrom  golang  as golang\r\nRUN echo golang\r\nFROM golang\r\nFROM alpine"
    assert rewrite(parse(text), {0: "new", 2: "other/$X"}) == (
        "\ufeff# golang\r\nfrom  new  as golang\r\nRUN echo golang\r\nFROM golang\r\nFROM other/$X"
    )
    assert rewrite(parse(text), {}) == text


def test_a_base_over_several_lines_is_replaced_without_moving_lines() -> None:
    text = "FROM al\\\n# comment\npi\\\n\nne:3.18 AS x\nRUN true\n"
    new = rewrite(parse(text), {0: "new"})
    assert new == "FROM \\\n# comment\n\\\n\nnew AS x\nRUN true\n"
    assert parse(new).stages[0].base == "new"


@given(
    gaps=st.lists(
        st.sampled_from(["", "", "\\\n", "\\ \t\r\n", "\\\n# c \\\n", "\\\n\n", "\\\n\\\n"]),
        min_size=6,
        max_size=6,
    ),
    end=st.sampled_from(["", "\n", " AS x\n", "\\\n AS x", "\\\n"]),
)
def test_rewriting_any_layout_leaves_a_dockerfile_with_the_new_base(gaps: list[str], end: str) -> None:
    word = "".join(char + gap for char, gap in zip("alpine", gaps, strict=True))
    text = f"FROM scratch\nFROM {word}{end}"
    before = parse(text)
    after = parse(rewrite(before, {1: "new:1"}))
    assert [stage.base for stage in after.stages] == ["scratch", "new:1"]
    assert after.stages[1].name == before.stages[1].name
    assert after.text.count("\n") == text.count("\n")


def injected(
    text: str,
    override: Optional[Override],
    platforms: Sequence[Platform] = (AMD, ARM),
    build_args: Optional[Mapping[str, str]] = None,
    target: Optional[str] = None,
) -> Injection:
    dockerfile = parse(text)
    resolutions = resolve_all(
        dockerfile, platforms, build_args=build_args or {}, build_platform=AMD, target=target
    )
    return inject(dockerfile, resolutions, found(text, override, platforms, build_args, target))


def test_each_stage_gets_a_name_and_a_context_for_each_platform_it_is_pulled_for() -> None:
    text = (
        "FROM --platform=$BUILDPLATFORM golang AS build\n"
        "FROM alpine AS alpine\nFROM alpine\nCOPY --from=build / /\n"
    )
    result = injected(text, {"final": {"linux/arm64": "arm"}})
    assert result.text == text.replace("golang", "image-builder-base-0").replace(
        "FROM alpine AS", "FROM image-builder-base-1 AS"
    )
    assert result.contexts == {
        "image-builder-base-0::linux/amd64": "docker-image://docker.io/library/golang:latest",
        "image-builder-base-1::linux/amd64": "docker-image://docker.io/library/alpine:latest",
        "image-builder-base-1::linux/arm64": "docker-image://docker.io/library/arm:latest",
    }


def test_pinned_bases_are_injected_with_their_digests() -> None:
    digest = f"sha256:{'a' * 64}"
    dockerfile = parse("FROM alpine\n")
    pinned = [
        replace(base, reference=base.reference.with_digest(digest)) for base in found(dockerfile.text, None)
    ]
    resolutions = resolve_all(dockerfile, (AMD,), build_args={}, build_platform=AMD)
    result = inject(dockerfile, resolutions, pinned)
    assert result.contexts == {
        "image-builder-base-0::linux/amd64": f"docker-image://docker.io/library/alpine:latest@{digest}"
    }


def test_one_platform_that_needs_several_bases_is_told_apart_by_what_is_built() -> None:
    result = injected("FROM --platform=$BUILDPLATFORM tools:$TARGETARCH\n", None)
    assert result.text == "FROM --platform=$BUILDPLATFORM image-builder-base-0/${TARGETPLATFORM}\n"
    assert result.contexts == {
        "image-builder-base-0/linux/amd64::linux/amd64": "docker-image://docker.io/library/tools:amd64",
        "image-builder-base-0/linux/arm64::linux/amd64": "docker-image://docker.io/library/tools:arm64",
    }


def test_bases_that_cannot_be_told_apart_are_an_error() -> None:
    text = "ARG TARGETPLATFORM=x\nFROM --platform=$BUILDPLATFORM tools:$TARGETARCH\n"
    with pytest.raises(DockerfileError, match="TARGETPLATFORM, which is redefined") as caught:
        injected(text, None)
    assert (caught.value.code, caught.value.line) == ("base_differs_by_platform", 2)
    with pytest.raises(DockerfileError, match="TARGETPLATFORM, which is redefined"):
        injected(text.partition("\n")[2], None, build_args={"TARGETPLATFORM": "x"})


def test_a_base_that_is_an_image_on_some_platforms_only_stays_or_is_refused() -> None:
    text = "FROM alpine AS base-amd64\nFROM base-$TARGETARCH\n"
    result = injected(text, None)
    assert result.text == text.replace("alpine", "image-builder-base-0")
    with pytest.raises(DockerfileError, match="on some platforms only"):
        injected(text, {"1": "new"})


def test_the_names_are_found_nowhere_else_in_the_dockerfile() -> None:
    text = "FROM alpine AS image-builder-base-1\nFROM golang\nCOPY --from=image-builder-base-1 / /\n"
    assert injected(text, None).text == (
        "FROM image-builder-basex-0 AS image-builder-base-1\nFROM image-builder-basex-1\n"
        "COPY --from=image-builder-base-1 / /\n"
    )


LEFT_TO_THE_CALLER = "ARG BASE\nFROM ${BASE}\nRUN cat /etc/flavor > /f\n"


@pytest.mark.parametrize(
    "override", ["new", {"first": "new"}, {"final": "new"}, {"all": "new"}, {"0": "new"}, {"${BASE}": "new"}]
)
def test_a_base_that_is_left_to_the_caller_is_what_the_override_gives(override: Override) -> None:
    result = injected(LEFT_TO_THE_CALLER, override)
    assert result.text == LEFT_TO_THE_CALLER.replace("${BASE}", "image-builder-base-0")
    assert set(result.contexts.values()) == {"docker-image://docker.io/library/new:latest"}


@pytest.mark.parametrize(
    "text",
    [
        "ARG BASE\nFROM $BASE AS a\n",
        "ARG TAG\nFROM alpine:$TAG\n",
        "ARG REGISTRY\nFROM $REGISTRY/alpine\n",
        "ARG BASE\nFROM ${BASE:?none}\n",
        "FROM Not@A:Reference\n",
    ],
)
def test_a_base_that_cannot_be_used_is_refused_unless_it_is_replaced(text: str) -> None:
    (base,) = found(text, "new")
    assert (base.reference.familiar, base.overridden) == ("new", True)
    assert base.original in text
    with pytest.raises(DockerfileError, match="line"):
        found(text, None)


def test_of_several_bases_left_to_the_caller_those_without_an_override_are_refused() -> None:
    text = "ARG A\nARG B\nFROM $A AS a\nFROM $B AS b\nFROM $A\nCOPY --from=a / /\nCOPY --from=b / /\n"
    assert failure(text, "new").line == 4
    assert chosen(text, {"first": "one", "$B": "two"}) == {0: "one", 1: "two", 2: "one"}
    assert chosen(text, {"final": "one", "b": "two"}) == {0: "one", 1: "two", 2: "one"}
    with pytest.raises(DockerfileError, match="on line 4"):
        raise failure(text, {"nothing": "new"})


def test_a_stage_that_is_not_needed_does_not_stand_in_the_way_of_the_base_that_it_shares() -> None:
    text = "ARG BASE\nFROM $BASE AS a\nFROM $BASE AS b\n"
    written = injected(text, "new", target="a").text
    assert written == "ARG BASE\nFROM image-builder-base-0 AS a\nFROM scratch AS b\n"
    assert failure("ARG BASE\nARG B\nFROM $BASE AS a\nFROM $B AS b\n", "new", target="a").line == 4


def test_a_key_names_a_base_left_to_the_caller_where_none_matches() -> None:
    assert "stage 0 on line 2 starts from ${BASE}" in str(failure(LEFT_TO_THE_CALLER, {"alpine": "new"}).hint)


REFERENCE = Reference.parse("busybox:1").with_digest(f"sha256:{'1' * 64}")


@pytest.mark.parametrize(
    ("flag", "pinned"),
    [
        ("COPY --from=busybox:1 /a /a", "COPY --from={} /a /a"),
        ("COPY --chown=1 --from=busybox:1 --link /a /a", "COPY --chown=1 --from={} --link /a /a"),
        ("copy  --from='busybox:1'\t/a /a", "copy  --from={}\t/a /a"),
        ('COPY --fr"om=busybox:1" /a /a', "COPY --from={} /a /a"),
        ("COPY --from=busy\\\n # x\n\nbox:1 /a /a", "COPY \\\n # x\n\n--from={} /a /a"),
        ("COPY --from=busybox:1 <<EOF --from=busybox:1 /a\nb\nEOF", None),
        ("ONBUILD COPY --from=busybox:1 /a /a", "ONBUILD COPY --from={} /a /a"),
        ("RUN --mount=from=busybox:1,target=/a true", "RUN --mount=from={},target=/a true"),
        ("RUN --mount=target=/a,FROM=busybox:1 --network=none true", None),
        (
            "RUN --mount=type=bind,from=busybox:1,'\"source=/a,b\"',target=/b true",
            'RUN --mount="type=bind,from={},\\"source=/a,b\\",target=/b" true',
        ),
        ("RUN --mount=from=busybox:1,target='/ą b' true", 'RUN --mount="from={},target=/ą b" true'),
        ("RUN --mount=from=busybox:1,target=/$A true", "RUN --mount=from={},target=/$A true"),
    ],
)
def test_what_a_flag_names_is_pinned_where_it_stands(flag: str, pinned: str | None) -> None:
    text = f"# ünder\nFROM alpine\n{flag}\n"
    before = parse(text)
    (found,) = before.stages[0].from_flags
    after = rewrite(before, {}, {found: REFERENCE})
    if pinned is not None:
        assert after == text.replace(flag, pinned.format(REFERENCE))
    (again,) = parse(after).stages[0].from_flags
    assert (again.name, again.line, again.instruction) == (str(REFERENCE), found.line, found.instruction)
    assert len(after.split("\n")) == len(text.split("\n"))
    old, new = mount_fields(found.value), mount_fields(again.value)
    if found.instruction == "RUN":
        assert old
        assert new
        assert [field for field in old if field[0] != "from"] == [
            field for field in new if field[0] != "from"
        ]


def test_another_escape_character_is_kept_where_a_flag_is_pinned() -> None:
    before = parse("# escape=`\nFROM a\nRUN --mount=from=busybox:1,target=c:\\a` b dir\n")
    (found,) = before.stages[0].from_flags
    (again,) = parse(rewrite(before, {0: "x"}, {found: REFERENCE})).stages[0].from_flags
    assert again.value == f"from={REFERENCE},target=c:\\a b"
