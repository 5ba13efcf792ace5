# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What random distortions showed to be read otherwise than BuildKit reads it, one example of each kind."""

from __future__ import annotations

from typing import Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.overrides import bases
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.parser import external_syntax
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.rewrite import rewrite
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.stages import resolve
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform

NATIVE = Platform("linux", "amd64")


def images(text: str) -> list[str]:
    """The platforms and images that a build of ``text`` needs, or its error's code."""
    try:
        dockerfile = parse(text)
        found = resolve(dockerfile, build_args={}, platform=NATIVE, build_platform=NATIVE)
        bases(dockerfile, [found], None)
    except DockerfileError as error:
        return [error.code]
    stages = [f"{used.platform} {used.image.familiar}" for used in found.stages if used.image]
    return stages + [f"{image.platform} {image.reference.familiar}" for image in found.images]


ALPINE, GOLANG = "linux/amd64 alpine", "linux/amd64 golang"
READ: list[tuple[str, list[str]]] = [
    # The escape character of the directive is that of flags, too, but not of what ONBUILD holds.
    ("# escape=`\nFROM --plat`form=linux alpine", [ALPINE]),
    ("# escape=`\nFROM --platform=lin\\ux alpine", ["dockerfile_platform"]),
    ("# escape=`\nFROM alpine AS a\nONBUILD COPY --from=go\\lang a b\nFROM a", [ALPINE, GOLANG]),
    # Flags are read byte by byte: the second byte of these letters is a blank of Latin-1.
    ("FROM --platform=linux/ą alpine", ["dockerfile_platform"]),
    ("FROM --platform=linux\u00a0alpine", ["dockerfile_platform"]),
    ("FROM alpine\nCOPY --chown=ą --from=golang a b", [ALPINE, GOLANG]),
    ("FROM alpine\nCOPY --chown=ą--from=golang a b", [ALPINE, GOLANG]),
    ("FROM alpine\nCOPY --chown=à--from=golang a b", [ALPINE, GOLANG]),
    ("FROM alpine\nCOPY --chown=ä--from=golang a b", [ALPINE]),
    # Platforms.
    ("FROM --platform=windows(10.0.17763)/amd64 alpine", ["windows(10.0.17763)/amd64 alpine"]),
    ("FROM --platform=windows(10.0.17763+win32k) alpine", ["windows(10.0.17763+win32k)/amd64 alpine"]),
    ("FROM --platform=lin.ux/amd64 alpine", ["dockerfile_platform"]),
    ("FROM --platform=x86.64 alpine", ["dockerfile_platform"]),
    ("FROM --platform=netbsd alpine", ["netbsd/amd64 alpine"]),
    ("FROM --platform=macOS alpine", ["darwin/amd64 alpine"]),
    ('FROM --platform=" linux/amd64" alpine', ["dockerfile_platform"]),
    # A byte order mark before a word is passed over, within one it is not.
    ("FROM \ufeffalpine", [ALPINE]),
    ("FROM golang AS a\nFROM \ufeffa", [GOLANG]),
    ("FROM al\ufeffpine", ["dockerfile_reference"]),
    # A mount of nothing is one of scratch, which can be a stage.
    ("FROM golang AS scratch\nFROM alpine\nRUN --mount=type=cache,target=/c true", [GOLANG, ALPINE]),
    ("FROM golang AS scratch\nFROM alpine\nRUN --mount=target=/c true", [GOLANG, ALPINE]),
    ("FROM alpine AS scratch\nRUN --mount=type=tmpfs,target=/c true", ["dockerfile_circle"]),
    ("FROM golang AS scratch\nFROM alpine\nCOPY --from= a b", [ALPINE]),
    # A host that no DNS knows is one for Docker all the same.
    ("FROM a_b.example/c", ["linux/amd64 a_b.example/c"]),
    ("FROM a_b:80/c", ["dockerfile_reference"]),
    ("FROM A_b.example/c", ["dockerfile_reference"]),
    # Heredocs: blanks behind <<, an expansion within the word, what is no name.
    ("FROM alpine\nRUN cat << E\nFROM golang\nE", [ALPINE]),
    ("FROM alpine\nRUN cat <<\rE\nFROM golang\nE", [ALPINE]),
    ("FROM alpine\nRUN cat <<${E:-F}\nFROM golang", [GOLANG]),
    ("FROM alpine\nRUN cat <<-\nFROM golang", [GOLANG]),
    ("FROM alpine\nONBUILD COPY <<E /x\nFROM golang\nE", [ALPINE]),
    # What is copied from counts as a stage behind the last one.
    ("FROM alpine\nCOPY --from=golang a b\nCOPY --from=1 a b", [ALPINE, GOLANG, GOLANG]),
    ("# escape=\u00a0`\nFROM alpine", ["dockerfile_syntax"]),
    ("FROM alpine${X:#a}", ["dockerfile_expansion"]),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_a_distorted_dockerfile_is_read_as_buildkit_reads_it(text: str, expected: list[str]) -> None:
    assert images(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# syntax=a/b\n", "a/b"),
        ("#!/bin/sh\n# syntax=a/b c\n", "a/b c"),
        ("\ufeff#!/bin/sh\r\n#syntax = a/b\r\n", "a/b"),
        ("#!/bin/sh\n#!/bin/sh\n# syntax=a/b\n", None),
        ("\n# syntax=a/b\n", None),
        (" # syntax=a/b\n", None),
        ("# escape=`\n# Syntax=a/b\n", "a/b"),
        ("# escape=`\n# escape=`\n# syntax=a/b\n", None),
        ("// syntax=a/b\n", "a/b"),
        ("// escape=`\n// syntax=a/b\n", "a/b"),
        ('{"syntax": "a/b"}', "a/b"),
        ('{"syntax": 1}', None),
        ('{"syntax": "a/b"', None),
        ("# a comment\n# syntax=a/b\n", None),
    ],
)
def test_a_frontend_is_found_where_buildkit_looks_for_it(text: str, expected: Optional[str]) -> None:
    assert external_syntax(text) == expected


def test_an_escape_directive_behind_a_shebang_is_none_though_a_syntax_is_one() -> None:
    assert parse("#!/bin/sh\n# escape=`\nFROM alpine\n").escape == "\\"
    assert parse("#!/bin/sh\n# syntax=a/b\nFROM alpine\n").syntax == "a/b"


def test_a_base_is_replaced_in_its_place_whatever_stands_around_it() -> None:
    for text in (
        "# ąę\nFROM --platform=linux \\\n  alpine AS a\n",
        "# ąę\nFROM alpine\nCOPY --chown=ą a b\n",
    ):
        assert rewrite(parse(text), {0: "other"}) == text.replace("alpine", "other")
    assert rewrite(parse("# ąę\nFROM \ufeffalpine\n"), {0: "other"}) == "# ąę\nFROM other\n"
