# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.context_digest import (
    context_digest,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.dockerignore import Ignore
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.snapshot import snapshot

IGNORE = Ignore("ignored\n!ignored/back")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "d" / "e").mkdir(parents=True)
    (folder / "ignored").mkdir()
    for name in ("a", "d/b", "d/e/c", "ignored/x", "ignored/back"):
        (folder / name).write_text(name, encoding="utf-8")
    (folder / "link").symlink_to("/nowhere")
    (folder / "a").chmod(0o4711)
    os.link(folder / "a", folder / "d" / "same")
    os.mkfifo(folder / "pipe")
    (folder / os.fsdecode(b"\xff")).touch()
    for path in (folder / "d" / "b", folder / "d"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    (folder / "d").chmod(0o555)
    return folder


def copied(context: Path) -> Path:
    copy = context.parent / "copy"
    copy.mkdir()
    snapshot(str(context), IGNORE, str(copy))
    return copy


def test_the_copy_has_what_reaches_the_build(context: Path) -> None:
    copy = copied(context)
    assert context_digest(str(copy), IGNORE) == context_digest(str(context), IGNORE)
    assert sorted(os.listdir(copy / "ignored")) == ["back"]
    assert os.readlink(copy / "link") == "/nowhere"
    for name in ("d", "d/b"):
        assert (copy / name).stat().st_mtime == 1_000_000_000
    assert stat.S_IMODE((copy / "a").stat().st_mode) == 0o4711
    assert (copy / "a").stat().st_ino == (copy / "d" / "same").stat().st_ino
    assert (copy / "a").stat().st_ino != (context / "a").stat().st_ino


def test_what_is_written_later_does_not_reach_the_copy(context: Path) -> None:
    copy = copied(context)
    before = context_digest(str(copy), Ignore())
    (context / "a").write_text("other", encoding="utf-8")
    (context / "d" / "e" / "new").touch()
    assert context_digest(str(copy), Ignore()) == before


def test_a_socket_stays_behind(context: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(context / "s"))
        assert not (copied(context) / "s").exists()


def test_what_goes_away_meanwhile_is_told(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "readlink", lambda path: (_ for _ in ()).throw(FileNotFoundError(2, "gone")))
    with pytest.raises(SourceError, match=r"'link' in .* changed while it was read") as caught:
        copied(context)
    assert (caught.value.code, caught.value.retryable) == ("context_changed", True)


def test_a_full_disk_is_told(context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (context.parent / "copy").mkdir()
    monkeypatch.setattr(os, "mkdir", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))
    with pytest.raises(SourceError) as caught:
        snapshot(str(context), IGNORE, str(context.parent / "copy"))
    assert caught.value.code == "disk_full"
