# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Secrets in each of their forms: found, and read."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document import secrets
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.faults import Faults
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.secrets import (
    read_secrets,
    reader,
    refer_to_secret,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret


def read(value: Any) -> Secret:
    """The secret that a document gives as ``value``. Raises ``ValueError``."""
    faults = Faults()
    reference = refer_to_secret(faults, "password", value)
    if reference is None:
        raise ValueError(faults)
    return Secret(reader()(reference))


def test_a_secret_is_text_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_BUILDER_TEST_TOKEN", "from env\n")
    assert read("text") == Secret("text")
    assert read(Secret("text")) == Secret("text")
    assert read({"env": "IMAGE_BUILDER_TEST_TOKEN"}) == Secret("from env\n")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a", "a"),
        ("a\n", "a"),
        ("a\r\n", "a"),
        ("a\n\n", "a\n"),
        ("\n", ""),
        ("", ""),
        (" a ", " a "),
        ("é\n", "é"),
    ],
)
def test_one_line_end_of_a_file_does_not_count(content: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content.encode())
    assert read({"file": str(file)}).reveal() == expected


def test_a_file_in_the_home_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secret").write_text("text", encoding="utf-8")
    assert read({"file": "~/secret"}) == Secret("text")


@pytest.mark.parametrize(
    "value",
    [
        7,
        True,
        [],
        {},
        {"env": ""},
        {"env": 7},
        {"file": ""},
        {"file": "a\0b"},
        {"vault": "x"},
        {"env": "A", "file": "b"},
    ],
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"give text, \{env: NAME\} or \{file: PATH\}"):
        read(value)


def test_null_is_no_secret_at_all() -> None:
    faults = Faults()
    assert refer_to_secret(faults, "password", None) is None
    assert (faults, faults.secrets) == ([], [])


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="the environment variable NO_SUCH_NAME is not set"):
        read({"env": "NO_SUCH_NAME"})
    with pytest.raises(ValueError, match=f"the file {tmp_path}/missing cannot be read: No such file"):
        read({"file": f"{tmp_path}/missing"})
    with pytest.raises(ValueError, match=f"the file {tmp_path} cannot be read: Is a directory"):
        read({"file": str(tmp_path)})
    with pytest.raises(ValueError, match=f"the file {binary} cannot be read: it is not UTF-8 text"):
        read({"file": str(binary)})


def test_a_file_without_an_end_is_a_fault() -> None:
    with pytest.raises(ValueError, match="the file /dev/zero is longer than 120000 bytes"):
        read({"file": "/dev/zero"})


@pytest.mark.parametrize(
    ("size", "end", "usable"), [(120_000, "\r\n", True), (120_001, "", False), (120_003, "", False)]
)
def test_the_longest_secret_may_have_a_line_end(size: int, end: str, usable: bool, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"a" * size + end.encode())
    faults = Faults()
    refer_to_secret(faults, "password", {"file": str(file)})
    read_secrets(faults, faults.secrets, reader())
    assert (not faults) is usable
    assert all("longer than 120000 " in fault for fault in faults)


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("text\n",))
    writer.start()
    assert read({"file": str(pipe)}) == Secret("text")
    writer.join()


def test_a_pipe_that_nobody_writes_to_is_a_fault_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_READ_SECONDS", 0.1)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=r"cannot be read: nothing came within 0\.1 seconds"):
        read({"file": str(tmp_path / "pipe")})


def test_what_was_not_read_gives_no_text_and_prints_as_a_mask() -> None:
    faults = Faults()
    reference = refer_to_secret(faults, "target.registry.password", "hunter2")
    assert reference is not None
    assert "hunter2" not in f"{reference} {reference!r} {[reference]}"
    with pytest.raises(RuntimeError, match=r"target\.registry\.password has not been read"):
        reference.reveal()
