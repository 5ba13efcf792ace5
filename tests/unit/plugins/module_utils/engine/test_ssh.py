# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How asking by ssh ends where ssh does not behave; ``tests/builds`` asks a real one."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import ask, ssh
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine.endpoint import Endpoint
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import EngineError

from tests.support import leaks


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program ``ssh`` on PATH, to be written, and a folder for temporary files with a long name."""
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "ssh"


def refusal(program: Path, script: str) -> str:
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(0o755)
    with pytest.raises(EngineError) as caught:
        ask.ask(Endpoint("ssh://far.test"))
    return caught.value.message


def test_one_that_never_answers_is_given_up_and_ended(
    program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask, "ANSWER_SECONDS", 1)
    mark = tmp_path / "sleeping"
    mark.symlink_to("/usr/bin/sleep")
    assert "no answer within 1 seconds" in refusal(program, f"exec {mark} 600")
    assert not leaks.is_running(str(mark))
    assert list((tmp_path / ("long" * 30)).iterdir()) == []


def test_its_last_words_are_told(program: Path) -> None:
    message = refusal(program, "echo Welcome >&2; echo 'sh: docker: not found' >&2; exit 127")
    assert message == "ssh://far.test: ssh failed: sh: docker: not found."


def test_one_that_says_nothing_is_told(program: Path) -> None:
    assert refusal(program, "exit 255") == "ssh://far.test: it ends the connection without an answer."


def test_one_that_answers_otherwise_than_an_engine_is_told(program: Path) -> None:
    refusal(program, "echo SSH-2.0 hello; exit 0")


def test_without_the_program_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EngineError, match=r"ssh://far\.test: the ssh command is missing"):
        ask.ask(Endpoint("ssh://far.test"))


def test_a_host_is_named_as_it_is_written() -> None:
    # So that it finds its section in ssh's configuration.
    assert ssh.command("ssh://me@MyBuilder:2222")[-4:-1] == ["2222", "--", "MyBuilder"]
    assert ssh.command("ssh://[FE80::1]")[-2] == "FE80::1"
