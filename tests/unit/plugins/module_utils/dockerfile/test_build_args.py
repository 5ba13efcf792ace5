# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.build_args import (
    declared_by,
    may_read,
    refuse,
    undeclared,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError

TEXT = """\
ARG VERSION=1
FROM alpine AS a
arg One=1 two
ONBUILD ARG LATER
FROM alpine
RUN <<EOF
ARG NONE
EOF
"""


def unknown(text: str, *names: str) -> list[str]:
    return undeclared(parse(text), dict.fromkeys(names, "x"))


def test_an_argument_that_no_instruction_declares_is_found() -> None:
    assert unknown(TEXT, "VERSION", "One", "two", "LATER") == []
    assert unknown(TEXT, "version", "VERSON", "NONE", "VERSION") == ["version", "VERSON", "NONE"]


def test_predefined_arguments_need_no_declaration() -> None:
    names = ("HTTP_PROXY", "no_proxy", "all_proxy", "BUILDKIT_INLINE_CACHE", "BUILDKIT_SANDBOX_HOSTNAME")
    more = ("SOURCE_DATE_EPOCH", "TARGETPLATFORM", "BUILDARCH", "TARGETVARIANT", "TARGETSTAGE")
    assert unknown(TEXT, *names, *more) == []
    assert unknown(TEXT, "Http_Proxy", "TARGETFOO") == ["Http_Proxy", "TARGETFOO"]


def test_nothing_is_said_where_another_frontend_or_a_variable_may_declare_it() -> None:
    assert unknown("# syntax=docker/dockerfile:1\n" + TEXT, "NONE") == []
    assert unknown(TEXT, "BUILDKIT_SYNTAX", "NONE") == []
    assert unknown("FROM alpine\nARG A$B=1\n", "NONE") == []


@pytest.mark.parametrize(
    ("text", "name", "hint"),
    [
        (TEXT, "VERSON", "Did you mean VERSION?"),
        (TEXT, "version", "Did you mean VERSION?"),
        (TEXT, "XYZ", "Correct it, or leave it out. Declared are LATER, One, VERSION, two."),
        ("FROM alpine\n", "XYZ", "Correct it, or leave it out. It has no ARG."),
    ],
)
def test_an_unknown_argument_is_refused_with_the_nearest(text: str, name: str, hint: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        refuse([name], parse(text))
    assert caught.value.code == "unknown_build_arg"
    assert name in caught.value.message
    assert caught.value.hint == hint


def test_what_a_base_image_declares_for_builds_on_it_is_known() -> None:
    assert declared_by(["ARG A", "arg B=1 C", "RUN ARG D", "ARG", "COPY <<E /x", ""]) == {"A", "B", "C"}


@pytest.mark.parametrize(
    ("text", "trigger", "may"),
    [
        ("ARG A\nFROM alpine\nRUN echo $T\n", "RUN true", False),
        ("ARG T\nFROM alpine\n", "", True),
        ("FROM alpine\nARG A=1 T\n", "", True),
        ("FROM alpine\nONBUILD ARG T=1\n", "", True),
        ("FROM alpine\nARG 'T'\n", "", True),
        ("FROM alpine\nARG T$A\n", "", True),
        ("FROM alpine\n", "ARG T", True),
        ("FROM alpine\nARG t TT\n", "ARG X", False),
    ],
)
def test_only_what_an_arg_declares_may_be_read(text: str, trigger: str, may: bool) -> None:
    assert may_read(parse(text), "T", [trigger]) is may
