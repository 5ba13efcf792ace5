# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.remote_adds import moving_adds
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.stages import (
    resolve,
    resolve_all,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.triggers import read_triggers
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform

AMD64 = Platform.parse("linux/amd64")
COMMIT = "1" * 40


def lines(text: str, build_args: dict[str, str] | None = None, target: str | None = None) -> list[int]:
    dockerfile = parse(text)
    args = build_args or {}
    resolutions = resolve_all(dockerfile, [AMD64], build_args=args, build_platform=AMD64, target=target)
    return [add.line for add in moving_adds(dockerfile, resolutions, args)]


@pytest.mark.parametrize(
    ("add", "moves"),
    [
        ("ADD http://example.org/a /a", True),
        ("ADD --chown=1 https://example.org/a /a", True),
        ("add a https://example.org/a /", True),
        ('ADD ["https://example.org/a", "/a"]', True),
        ('ADD "https://example.org/a" /a', True),
        ("ADD https://example.org/a.git#main /a", True),
        ("ADD git@example.org:a.git /a", True),
        ("ADD ssh://git@example.org/a.git#v1:sub /a", True),
        (f"ADD https://example.org/a.git#{COMMIT} /a", False),
        (f"ADD git@example.org:a#{COMMIT}:sub /a", False),
        (f"ADD https://example.org/a#{COMMIT} /a", True),
        (f"ADD --checksum=sha256:{COMMIT} https://example.org/a /a", False),
        ("ADD https.txt git.txt /a", False),
        ("ADD $A /a", False),
        ("ARG A=https://example.org/\nADD ${A}a /a", True),
        ("ENV A https://example.org/\nADD $A /a", True),
        ('ENV A="https://example.org/"\nADD ${A:-x} /a', True),
        ("ARG A=b\nADD $A /a", False),
        ("COPY https://example.org/a /a", False),
    ],
)
def test_what_add_fetches_moves_unless_it_is_pinned(add: str, moves: bool) -> None:
    assert bool(lines(f"FROM alpine\n{add}\n")) is moves


def test_an_address_given_as_build_argument_moves() -> None:
    text = "FROM alpine\nARG A\nADD $A /a\n"
    assert lines(text, {"A": "https://example.org/a"}) == [3]
    assert lines(text, {"A": "a"}) == []


def test_only_stages_in_use_count_and_onbuild_where_it_acts() -> None:
    text = (
        "FROM alpine AS unused\nADD http://example.org/a /a\n"
        "FROM alpine AS parent\nONBUILD ADD http://example.org/b /b\n"
        "FROM parent AS child\nRUN true\n"
    )
    assert lines(text, target="parent") == []
    assert lines(text) == [4]


def test_the_onbuild_of_a_base_counts() -> None:
    dockerfile = parse("FROM scratch\nFROM base\n")
    triggers = read_triggers(["ADD a /", "ADD http://example.org/a /a"], 2)
    found = resolve(
        dockerfile, build_args={}, platform=AMD64, build_platform=AMD64, triggers={1: triggers, 0: triggers}
    )
    assert [add.line for add in moving_adds(dockerfile, [found], {})] == [2]
