# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuilderError
from ansible_collections.sodalite.image_builder.plugins.module_utils.module_run import append


def test_progress_is_added_to_a_file_and_one_that_cannot_be_written_stops_nothing(
    tmp_path: Path,
) -> None:
    append(str(tmp_path / "file"), "one")
    append(str(tmp_path / "file"), "two")
    assert (tmp_path / "file").read_text() == "one\ntwo\n"
    append(str(tmp_path / "none" / "file"), "lost")


def test_a_pipe_that_nobody_reads_ends_the_work_instead_of_holding_it(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(BuilderError, match="nobody reads it"):
        append(str(path), "lost")


def test_a_pipe_that_is_full_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    for _ in range(100):
        append(str(path), "x" * 4000)
    assert os.read(reader, 5) == b"xxxxx"
    os.close(reader)
