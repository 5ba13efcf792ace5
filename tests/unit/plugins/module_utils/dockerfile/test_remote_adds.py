# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.remote_adds import (
    Remote,
    remote_adds,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.stages import resolve
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.triggers import read_triggers
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform

AMD64 = Platform.parse("linux/amd64")
COMMIT = "1" * 40
WEB = "https://example.org/"
UNKNOWN = ("", "")


def remotes(
    text: str,
    build_args: dict[str, str] | None = None,
    target: str | None = None,
    triggers: dict[int, list[str]] | None = None,
    environment: dict[str, str] | None = None,
) -> list[Remote]:
    dockerfile = parse(text)
    args = build_args or {}
    found = resolve(
        dockerfile,
        build_args=args,
        platform=AMD64,
        build_platform=AMD64,
        target=target,
        triggers={index: read_triggers(texts, 99) for index, texts in (triggers or {}).items()},
    )
    return remote_adds(dockerfile, found, {0: environment or {}}, args)


@pytest.mark.parametrize(
    ("add", "fetched"),
    [
        (f"ADD {WEB}a /a", (f"{WEB}a", "")),
        ("ADD --chown=1 http://example.org/a#top /a", ("http://example.org/a", "")),
        (f"add a {WEB}a?b=c /", (f"{WEB}a?b=c", "")),
        (f'ADD ["{WEB}a", "/a"]', (f"{WEB}a", "")),
        (f'ADD "{WEB}a" /a', (f"{WEB}a", "")),
        (f"ADD {WEB}a.git#main /a", (f"{WEB}a.git", "main")),
        (f"ADD {WEB}a.git /a", (f"{WEB}a.git", "HEAD")),
        ("ADD git://example.org/a#v1:sub /a", ("git://example.org/a", "v1")),
        (f"ADD {WEB}a.git#:sub /a", (f"{WEB}a.git", "HEAD")),
        (f"ADD {WEB}a.git?ref=main /a", UNKNOWN),
        (f"ADD {WEB}a?b=c.git /a", UNKNOWN),
        ("ADD git@example.org:a.git /a", UNKNOWN),
        ("ADD user@example.org:a /a", UNKNOWN),
        ("ADD ssh://git@example.org/a.git#v1:sub /a", UNKNOWN),
        (f"ADD {WEB}a.git#{COMMIT} /a", None),
        (f"ADD git@example.org:a#{COMMIT}:sub /a", None),
        (f"ADD {WEB}a#{COMMIT} /a", (f"{WEB}a", "")),
        (f"ADD --checksum=sha256:{COMMIT} {WEB}a /a", None),
        (f"ARG C\nADD --checksum=$C {WEB}a /a", (f"{WEB}a", "")),
        (f"ARG C=sha256:{COMMIT}\nADD --checksum=$C {WEB}a /a", None),
        ("ADD https.txt git.txt /a", None),
        ("ADD $A /a", None),
        (f"ARG A={WEB}\nADD ${{A}}a /a", (f"{WEB}a", "")),
        (f"ARG A\nADD ${{A:-{WEB}}}a /a", (f"{WEB}a", "")),
        (f"ENV A {WEB}\nADD $A /a", (WEB, "")),
        (f'ENV A="{WEB}" B=$A\nENV C=${{A}}c B=b$B\nADD ${{C:-x}}$B /a', (f"{WEB}cb", "")),
        ("ARG A=b\nADD $A /a", None),
        (f"ARG A={WEB}\nENV A=b\nADD $A /a", None),
        (f"ENV A=b\nARG A={WEB}\nADD $A /a", UNKNOWN),
        (f"ARG A$X={WEB}\nADD $A /a", (WEB, "")),
        (f"ARG A={WEB}${{X!}}\nADD $A /a", UNKNOWN),
        ("ARG TARGETARCH\nADD http://example.org/$TARGETARCH /a", ("http://example.org/amd64", "")),
        ("ADD http://example.org/$TARGETARCH /a", ("http://example.org/", "")),
        ("ARG GLOBAL\nADD $GLOBAL /a", (f"{WEB}g", "")),
        ("ADD $GLOBAL /a", None),
        ("ADD $BASE/x /a", (f"{WEB}base/x", "")),
        (f"COPY {WEB}a /a", None),
    ],
)
def test_what_add_fetches_is_known_by_its_address(add: str, fetched: tuple[str, str] | None) -> None:
    text = f"ARG GLOBAL={WEB}g\nFROM alpine\n{add}\n"
    found = remotes(text, environment={"BASE": f"{WEB}base"})
    assert [(each.url, each.version) for each in found] == ([] if fetched is None else [fetched])


def test_an_address_given_as_build_argument_counts() -> None:
    text = "FROM alpine\nARG A=b\nADD $A /a\n"
    assert remotes(text, {"A": f"{WEB}a"}) == [Remote(3, f"{WEB}a")]
    assert remotes(text, {"A": "a"}) == []


def test_only_stages_in_use_count_and_onbuild_where_it_acts() -> None:
    text = (
        f"FROM alpine AS unused\nADD {WEB}a /a\n"
        f"FROM alpine AS parent\nARG A=1\nENV B=2\nONBUILD ADD {WEB}$A$B$C /b\nENV C=3\n"
        "FROM parent AS child\nRUN true\n"
    )
    assert remotes(text, target="parent") == []
    assert remotes(text) == [Remote(6, f"{WEB}123")]


def test_the_onbuild_of_a_base_counts_before_the_stages_own_instructions() -> None:
    text = "FROM base\nENV A=own\n"
    triggers = {0: ["ADD a /", f"ENV A={WEB}$BASE", "ADD $A /a", "COPY <<"]}
    assert remotes(text, triggers=triggers, environment={"BASE": "b"}) == [Remote(99, f"{WEB}b")]


def test_variables_of_many_stages_in_a_chain_are_not_copied_without_end() -> None:
    variables = "".join(f"ENV V{n}={n}\n" for n in range(2100))
    stages = "".join(f"FROM s{n} AS s{n + 1}\nENV A=x\n" for n in range(2100))
    text = f"FROM alpine AS s0\n{variables}{stages}ADD {WEB}$V1 /a\nADD {WEB}x /a\n"
    found = remotes(text)
    assert [(each.url, each.version) for each in found] == [UNKNOWN, (f"{WEB}x", "")]


def test_much_onbuild_in_many_stages_is_not_followed_without_end() -> None:
    onbuild = f"ONBUILD ADD {WEB}a /\n" * 150
    stages = "".join(f"FROM s AS t{n}\nCOPY --from={n} / /\n" for n in range(1, 150))
    found = remotes(f"FROM alpine AS s\n{onbuild}FROM s\n{stages}")
    assert {(each.url, each.version) for each in found} == {UNKNOWN, (f"{WEB}a", "")}
