# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build import quiet_bases
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.quiet_bases import recall, remember

ONE, TWO, THREE = (f"sha256:{digit * 64}" for digit in "123")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "image-builder" / "quiet-bases"


def test_what_is_remembered_is_recalled_and_the_oldest_forgotten(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quiet_bases, "_MOST", 2)
    assert recall() == []
    assert remember([ONE, ONE], []) == [ONE]
    assert remember([TWO, THREE], recall()) == [TWO, THREE, ONE]
    assert recall() == [TWO, THREE]
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize("damage", ["pipe", "folder", "link", "text", "bytes", "no folder"])
def test_whatever_else_is_there_counts_as_nothing(file: Path, damage: str) -> None:
    file.parent.mkdir()
    if damage == "pipe":
        os.mkfifo(file)
    elif damage == "folder":
        file.mkdir()
    elif damage == "link":
        file.symlink_to("/dev/zero")
    elif damage == "no folder":
        file.parent.rmdir()
        file.parent.write_text("", encoding="utf-8")
    else:
        file.write_bytes(b"\xff\n" if damage == "bytes" else b"a\n../b\n")
    assert recall() == []
    remember([ONE], recall())
    assert recall() == ([] if damage in ("folder", "no folder") else [ONE])
