# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources import memory
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.memory import recall, remember
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.tree import Known

KNOWN = Known("FROM scratch\n", "Dockerfile", "sha256:12", 1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which sources are remembered, with one of them."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    remember("one", KNOWN)
    return tmp_path / "image-builder" / "sources"


def test_what_is_remembered_is_recalled(folder: Path) -> None:
    assert recall("one") == KNOWN
    assert recall("two") is None


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "folder", "deep", "socket of zeros"])
def test_whatever_else_is_there_counts_as_absent_and_nothing_waits_for_it(folder: Path, kind: str) -> None:
    path = folder / "two.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link to a pipe":
        os.mkfifo(folder / "pipe")
        path.symlink_to(folder / "pipe")
    elif kind == "folder":
        path.mkdir()
    elif kind == "deep":
        path.write_text("[" * 100_000)
    else:
        path.symlink_to("/dev/zero")
    assert recall("two") is None


def test_what_cannot_be_taken_away_does_not_keep_others_from_being_remembered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_MOST_FILES", 1)
    (folder / "a folder").mkdir()
    os.utime(folder / "a folder", (0, 0))
    remember("two", KNOWN)
    assert recall("two") == KNOWN
    assert recall("one") is None
