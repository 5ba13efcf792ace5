# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.git.version import (
    Found,
    check_version,
    find,
    parse_listing,
    unknown,
)

ONE, TWO, THREE, TAG = "1" * 40, "2" * 40, "22" + "3" * 38, "a" * 40
LISTING = f"""\
{ONE}\tHEAD
{ONE}\trefs/heads/main
{TWO}\trefs/heads/both
{THREE}\trefs/tags/both
{TAG}\trefs/tags/v1.0
{ONE}\trefs/tags/v1.0^{{}}
{THREE}\trefs/pull/7/head
"""
REFERENCES = parse_listing(LISTING)
URL = "https://host/app"


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("HEAD", Found("HEAD", ONE)),
        ("main", Found("refs/heads/main", ONE)),
        ("both", Found("refs/heads/both", TWO)),
        ("tags/both", Found("refs/tags/both", THREE)),
        ("v1.0", Found("refs/tags/v1.0", ONE)),
        ("refs/pull/7/head", Found("refs/pull/7/head", THREE)),
        ("pull/7/head", Found("refs/pull/7/head", THREE)),
        (TWO, Found(TWO, TWO)),
        ("B" * 40, Found("b" * 40, "b" * 40)),
        ("b" * 64, Found("b" * 64, "b" * 64)),
        ("2222", Found("refs/heads/both", TWO)),
        ("2222222", Found("refs/heads/both", TWO)),
    ],
)
def test_a_version_is_found_as_git_clone_would(version: str, expected: Found) -> None:
    assert find(REFERENCES, version, URL) == expected


@pytest.mark.parametrize("version", ["nope", "mai", "abcdef0", "111", "heads"])
def test_a_version_that_no_reference_names_is_not_found(version: str) -> None:
    assert find(REFERENCES, version, URL) is None


def test_an_ambiguous_abbreviation_lists_the_commits() -> None:
    references = {"refs/heads/a": "abcd" + "1" * 36, "refs/heads/b": "abcd" + "2" * 36}
    with pytest.raises(SourceError) as refused:
        find(references, "abcd", URL)
    assert refused.value.code == "no_such_version"
    assert all(commit in str(refused.value) for commit in references.values())


def test_a_branch_named_like_an_abbreviated_commit_is_the_branch() -> None:
    references = {"refs/heads/abcd": ONE, "refs/heads/b": "abcd" + "2" * 36}
    assert find(references, "abcd", URL) == Found("refs/heads/abcd", ONE)


def test_an_unknown_version_names_the_nearest_ones() -> None:
    assert "Did you mean main?" in str(unknown(REFERENCES, "mian", URL))
    assert "It has main, both, both, v1.0" in str(unknown(REFERENCES, "zzz", URL))
    assert "empty" in str(unknown({}, "main", URL))


@pytest.mark.parametrize("version", ["main", "feature/x-1", "v1.0", "HEAD", "refs/heads/a", "tür", "abc1234"])
def test_names_of_references_are_versions(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize(
    "version",
    [
        "",
        "-x",
        "--upload-pack=touch x",
        "a b",
        "a..b",
        "a:b",
        "a~1",
        "a^",
        "a\nb",
        "a/",
        "@{u}",
        "*",
        "@",
    ],
)
def test_what_git_could_read_as_more_than_a_name_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match="is not a branch"):
        check_version(version)
