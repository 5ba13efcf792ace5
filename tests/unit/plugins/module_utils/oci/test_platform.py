# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import re

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64"),
        ("Linux/AMD64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v2", "linux/amd64/v2"),
        ("arm64", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("ppc64le", "linux/ppc64le"),
        ("s390x", "linux/s390x"),
        ("macos/arm64", "darwin/arm64"),
        ("windows/amd64", "windows/amd64"),
        (" linux/riscv64 ", "linux/riscv64"),
    ],
)
def test_platforms_are_normalised_as_buildkit_does(text: str, expected: str) -> None:
    assert str(Platform.parse(text)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "linux", "linux/", "/amd64", "linux/a/b/c", "linux/a b", "linux/a,b", "linux/a\n/b", "x86 64"],
)
def test_what_is_no_platform_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write os/architecture"):
        Platform.parse(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("linux/amd46", "'amd46' is no architecture that builders know; did you mean 'amd64'?"),
        ("linux/x86_46", "'x86_46' is no architecture that builders know; write it as in linux/arm64"),
        ("linus/arm64", "'linus' is no operating system that builders know; did you mean 'linux'?"),
        ("unknown/unknown", "'unknown' is no operating system"),
    ],
)
def test_a_platform_that_no_builder_knows_is_refused_with_the_nearest_one(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        Platform.parse_known(text)


@pytest.mark.parametrize(
    "text", ["linux/riscv64", "windows/amd64", "Linux/AArch64", "macos/x86_64", "wasi/wasm"]
)
def test_a_platform_of_any_builder_is_accepted(text: str) -> None:
    assert Platform.parse_known(text) == Platform.parse(text)


@given(st.from_regex(r"(linux|Windows|macos)/[A-Za-z0-9_.-]{1,8}(/[A-Za-z0-9_.-]{1,4})?", fullmatch=True))
def test_a_printed_platform_reads_as_itself(text: str) -> None:
    platform = Platform.parse(text)
    assert Platform.parse(str(platform)) == platform


@given(st.text())
def test_any_text_is_a_platform_or_refused(text: str) -> None:
    try:
        platform = Platform.parse(text)
    except ValueError:
        return
    assert Platform.parse(str(platform)) == platform
