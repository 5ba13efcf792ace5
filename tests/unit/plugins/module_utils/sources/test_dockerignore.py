# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.context_digest import (
    context_digest,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.dockerignore import (
    Ignore,
    find_ignore,
    read_ignore,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.go_expression import (
    _Automaton,
    _State,
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
        (r"\d", "7", True),
        (r"\d", "d", False),
        (r"\s\w\a", " _\a", True),
        (r"a\b.c", "a.c", True),
        (r"\A[\D]\z", "a", True),
        (r"\Qa*", "a[^/]*$b", True),
        (r"\x41\102\x{43}", "ABC", True),
        (r"\pL\p{Nd}\P{^Lu}", "\u017a4Z", True),
        ("[[:alpha:]]x", "ax", True),
        ("[[:^alpha:]]x", "ax", False),
        ("[a*]", "a]", True),
        ("[a*]", "a", False),
        ("[a?]", "a]", True),
        ("^?", "a", True),
        ("a^?", "a^b", False),
        ("[a]|b", "xxb", True),
        ("?{2}", "ab", True),
        ("?{2}", "abc", False),
        ("?{x}", "a{x}", True),
        ("**.c", "d/a.c", True),
        ("**/.c", ".c", True),
        ("a**", "a/b", True),
        ("a**b", "a/x/b", True),
        ("a**b", "axb", False),
        ("***b", "a/ab", True),
        (" \x1ca", "a", False),
        ("\xa0a", "a", True),
        ("\N{BOM}# a", "# a", False),
        ("# b\n\N{BOM}?", "a", True),
        ("\udcff?", "\udcfea", True),
        ("a\nb", "c\nb", False),
        ("?", "\n", True),
        ("**/b?", "a\n/bc", False),
        ("a.b", "axb", False),
        ("(a|b)", "a", False),
        ("a\x0bb", "a", False),
        # The neighbours of what BuildKit refuses.
        (r"a\\", "a\\", True),
        ("[a", "b", None),
        ("[]a]", "a", None),
        ("[a-]", "a", None),
        ("[-a]", "a", None),
        ("a\\", "a", None),
        ("!", "a", None),
        ("! ", "a", None),
        ("!/", "a", None),
        ("[b-a]", "a", None),
        (r"\Z", "a", None),
        (r"\1", "a", None),
        (r"\e", "a", None),
        (r"\x4g", "a", None),
        (r"\p{Latin}", "a", None),
        ("[[:foo:]]", "a", None),
        ("*{2}", "a", None),
        ("[a]|{2}", "b", None),
        ("?{1001}", "a", None),
        ("?{3,2}", "a", None),
        ("?{1000}" * 100, "a", None),
        ("a" * 65536, "a", None),
    ],
)
def test_patterns_mean_what_they_mean_to_docker(text: str, path: str, ignored: Optional[bool]) -> None:
    if ignored is None:
        with pytest.raises(SourceError, match=r"\.dockerignore:1 "):
            Ignore(text).ignores(path)
    else:
        assert Ignore(text).ignores(path) is ignored


@given(text=st.text(), path=st.from_regex(r"[a-z*!\[]{1,3}(/[a-z]{1,3}){0,3}", fullmatch=True))
def test_any_text_can_be_read(text: str, path: str) -> None:
    with suppress(SourceError):
        Ignore(text).ignores(path)


@given(
    text=st.lists(st.sampled_from((*"a1[]^-\\dpQ{}2,|*?/.", "[:alpha:]", "\\x")), max_size=12).map("".join),
    path=st.text(alphabet="a1/]\n", min_size=1, max_size=6),
)
def test_any_pattern_can_be_read(text: str, path: str) -> None:
    with suppress(SourceError):
        Ignore(text).ignores(path)


@pytest.mark.parametrize("pattern", ["*a" * 20, "**/a" * 20 + "b", "?{1,9}" * 9 + "b", "*c|" * 20 + "c"])
def test_a_longer_path_takes_as_many_steps_more_as_it_is_longer(
    pattern: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    count = _Automaton._after

    def counted(self: _Automaton, state: _State, char: str) -> _State:
        nonlocal steps
        steps += 1
        return count(self, state, char)

    monkeypatch.setattr(_Automaton, "_after", counted)
    assert not Ignore(pattern).ignores("a" * 1000 + "d")
    assert steps <= 1002
    before = steps
    assert not Ignore(pattern).ignores("a" * 500 + "d")
    assert steps - before <= 502


def patterns(root: Path, dockerfile: Path) -> Ignore:
    return read_ignore(find_ignore(str(root), str(root), str(dockerfile)))


def test_the_dockerfiles_own_patterns_win_over_the_contexts(tmp_path: Path) -> None:
    dockerfile = tmp_path / "docker" / "Dockerfile"
    assert find_ignore(str(tmp_path), str(tmp_path), str(dockerfile)) == ""
    (tmp_path / ".dockerignore").write_text("a", encoding="utf-8")
    dockerfile.parent.mkdir()
    assert patterns(tmp_path, dockerfile).ignores("a")
    (dockerfile.parent / "Dockerfile.dockerignore").write_bytes(b"\xef\xbb\xbfb\n")
    assert not patterns(tmp_path, dockerfile).ignores("a")
    assert patterns(tmp_path, dockerfile).ignores("b")


def test_a_link_to_patterns_of_the_source_is_followed(tmp_path: Path) -> None:
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "patterns").write_text("a", encoding="utf-8")
    (tmp_path / ".dockerignore").symlink_to("docker/patterns")
    assert patterns(tmp_path, tmp_path / "Dockerfile").ignores("a")
    (tmp_path / "docker" / "Dockerfile.dockerignore").symlink_to("../.dockerignore")
    assert patterns(tmp_path, tmp_path / "docker" / "Dockerfile").ignores("a")


@pytest.mark.parametrize("name", [".dockerignore", "Dockerfile.dockerignore"])
@pytest.mark.parametrize("target", ["../outside", "/etc/hostname", "nowhere"])
def test_a_link_to_other_patterns_is_refused(tmp_path: Path, name: str, target: str) -> None:
    (tmp_path / "outside").write_text("a", encoding="utf-8")
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / name).symlink_to(target)
    with pytest.raises(SourceError, match=rf"^{name} is a link that leads (out of the source|nowhere)"):
        find_ignore(
            str(tmp_path / "context"), str(tmp_path / "context"), str(tmp_path / "context/Dockerfile")
        )


def test_patterns_of_any_length_are_not_read(tmp_path: Path) -> None:
    with open(tmp_path / ".dockerignore", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(SourceError, match="larger than 4 MiB"):
        patterns(tmp_path, tmp_path / "Dockerfile")


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
    return context_digest(str(context), patterns(context, Path("/nonexistent/Dockerfile")))


def test_what_lies_in_an_ignored_folder_is_not_looked_at_unless_it_can_come_back(
    context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: (seen.append(str(path)), scan(path))[1])
    for text, looked_at in (("*\n!d", False), ("*\n!ignored/x", True), ("*\n!*/x", True)):
        seen.clear()
        context_digest(str(context), Ignore(text))
        assert any(path.endswith("ignored") or path.endswith("ignored/") for path in seen) is looked_at


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
