# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.context_digest import (
    context_digest,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.dockerignore import (
    Ignore,
    read_ignore,
)
from hypothesis import given
from hypothesis import strategies as st

# tests/builds holds the same rules against BuildKit on generated patterns.


@pytest.mark.parametrize(
    ("text", "path", "ignored"),
    [
        ("", "a", False),
        ("a", "a", True),
        ("a", "a/b/c", True),
        ("a", "b/a", False),
        ("/a", "a", True),
        ("a/", "a", True),
        ("./a/../b", "b", True),
        ("*.pyc", "a.pyc", True),
        ("*.pyc", "d/a.pyc", False),
        ("**/*.pyc", "d/e/a.pyc", True),
        ("**/*.pyc", "a.pyc", True),
        ("a/**", "a", False),
        ("a/**", "a/b/c", True),
        ("**", "a/b", True),
        ("?", "a", True),
        ("?", "ab", False),
        ("[a-c]x", "bx", True),
        ("[^a]x", "ax", False),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        ("*\n!a", "a", False),
        ("*\n!a", "b", True),
        ("a\n!a/b", "a/b/c", False),
        ("a\n!a/b", "a/c", True),
        ("!a\na", "a", True),
        ("# a", "# a", False),
        (" # a", "# a", True),
        ("a # b", "a", False),
        ("a\r\nb\r\n", "b", True),
        (".", "a", False),
        ("!", "a", False),
        ("[b-a]", "a", False),
        ("[", "a", False),
        ("a.b", "axb", False),
        ("(a|b)", "a", False),
        ("a\x0bb", "a", False),
    ],
)
def test_patterns_mean_what_they_mean_to_docker(text: str, path: str, ignored: bool) -> None:
    assert Ignore(text).ignores(path) is ignored


@given(text=st.text(), path=st.from_regex(r"[a-z*!\[]{1,3}(/[a-z]{1,3}){0,3}", fullmatch=True))
def test_any_text_can_be_read(text: str, path: str) -> None:
    Ignore(text).ignores(path)


def test_the_dockerfiles_own_patterns_win_over_the_contexts(tmp_path: Path) -> None:
    (tmp_path / ".dockerignore").write_text("a", encoding="utf-8")
    dockerfile = tmp_path / "docker" / "Dockerfile"
    dockerfile.parent.mkdir()
    assert read_ignore(str(tmp_path), str(dockerfile)).ignores("a")
    (dockerfile.parent / "Dockerfile.dockerignore").write_bytes(b"\xef\xbb\xbfb\n")
    assert not read_ignore(str(tmp_path), str(dockerfile)).ignores("a")
    assert read_ignore(str(tmp_path), str(dockerfile)).ignores("b")


def test_patterns_are_not_read_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("a", encoding="utf-8")
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / ".dockerignore").symlink_to("../outside")
    assert not read_ignore(str(tmp_path / "context"), "/nonexistent/Dockerfile").ignores("a")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A build context, some of it ignored."""
    folder = tmp_path / "context"
    (folder / "d" / "e").mkdir(parents=True)
    (folder / "ignored").mkdir()
    for name in ("a", "d/b", "d/e/c", "ignored/x"):
        (folder / name).write_text(name, encoding="utf-8")
    (folder / "link").symlink_to("a")
    (folder / ".dockerignore").write_text("ignored\n", encoding="utf-8")
    return folder


def digest(context: Path) -> str:
    return context_digest(str(context), read_ignore(str(context), "/nonexistent/Dockerfile"))


def move(context: Path, name: str, to: str) -> None:
    (context / name).rename(context / to)


@pytest.mark.parametrize(
    "change",
    [
        lambda context: (context / "a").write_text("b", encoding="utf-8"),
        lambda context: (context / "a").chmod(0o755),
        lambda context: (context / "a").unlink(),
        lambda context: (context / "new").touch(),
        lambda context: (context / "empty").mkdir(),
        lambda context: (context / "d").chmod(0o711),
        lambda context: move(context, "a", "z"),
        lambda context: move(context, "d/b", "d/e/b"),
        lambda context: ((context / "link").unlink(), (context / "link").symlink_to("d/b")),
        lambda context: ((context / "link").unlink(), (context / "link").write_text("a", encoding="utf-8")),
        lambda context: (context / ".dockerignore").write_text("ignored\nd\n", encoding="utf-8"),
        lambda context: os.mkfifo(context / "pipe"),
    ],
)
def test_what_reaches_the_build_changes_the_digest(context: Path, change: Callable[[Path], object]) -> None:
    before = digest(context)
    change(context)
    assert digest(context) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda context: os.utime(context / "a", (1, 1)),
        lambda context: (context / "ignored" / "x").write_text("other", encoding="utf-8"),
        lambda context: (context / "ignored" / "new").mkdir(),
        lambda context: (context / "a").write_text("a", encoding="utf-8"),
    ],
)
def test_what_does_not_reach_the_build_leaves_the_digest(
    context: Path, change: Callable[[Path], object]
) -> None:
    before = digest(context)
    change(context)
    assert digest(context) == before


def test_the_same_files_elsewhere_have_the_same_digest(context: Path, tmp_path: Path) -> None:
    before = digest(context)
    context.rename(tmp_path / "elsewhere")
    assert digest(tmp_path / "elsewhere") == before


def test_a_file_outside_is_not_read_through_a_link(context: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (context / "out").symlink_to("../outside")
    before = digest(context)
    (tmp_path / "outside" / "file").touch()
    assert digest(context) == before


def test_names_that_are_no_text_and_things_that_are_no_files_can_be_read(context: Path) -> None:
    Path(os.fsdecode(bytes(context) + b"/\xff")).touch()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(context / "s"))
        digest(context)


def test_a_tree_deeper_than_pythons_stack_can_be_read(tmp_path: Path) -> None:
    path = str(tmp_path / "context")
    for _ in range(1200):
        os.mkdir(path)
        path += "/d"
    before = digest(tmp_path / "context")
    while len(path) > len(str(tmp_path / "context")):
        path = path[:-2]
        os.rmdir(path)
    assert before
