# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from image_builder.playbooks import follow


def run(program: str, folder: Path, **changes: Any) -> int:
    settings: dict[str, Any] = {
        "log": folder / "log",
        "followed": folder / "progress",
        "show": lambda line: None,
    }
    environment = {**os.environ, "FOLLOWED": str(folder / "progress")}
    started = follow.Program([sys.executable, "-c", program], environment, folder)
    return follow.run(started, **{**settings, **changes})


def test_lines_are_shown_while_the_program_runs_and_its_status_is_returned(tmp_path: Path) -> None:
    program = """
import os, pathlib, sys, time
path = pathlib.Path(os.environ["FOLLOWED"])
path.write_text("first\\nsec")
while not pathlib.Path("seen").exists():
    time.sleep(0.01)
with path.open("a") as file:
    file.write("ond\\n")
print("said")
sys.exit(3)
"""
    lines: list[str] = []

    def show(line: str) -> None:
        lines.append(line)
        (tmp_path / "seen").touch()

    assert run(program, tmp_path, show=show) == 3
    assert lines == ["first", "second"]
    assert (tmp_path / "log").read_text() == "said\n"


def test_silence_is_told_once_the_lines_before_it_were_shown(tmp_path: Path) -> None:
    program = """
import os, pathlib, time
pathlib.Path(os.environ["FOLLOWED"]).write_text("begun\\n")
while not pathlib.Path("noticed").exists():
    time.sleep(0.01)
"""
    lines: list[str] = []

    def idle() -> None:
        if lines:
            (tmp_path / "noticed").touch()

    assert run(program, tmp_path, show=lines.append, idle=idle) == 0


def test_what_interrupts_it_ends_the_program_and_its_children(tmp_path: Path) -> None:
    program = """
import os, pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(os.environ["FOLLOWED"]).write_text(f"{os.getpid()} {child.pid}\\n")
time.sleep(600)
"""
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.extend(map(int, line.split()))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(program, tmp_path, show=interrupt)
    assert len(pids) == 2
    assert not [pid for pid in pids if alive(pid)]


def test_a_program_that_ignores_the_request_to_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_GRACE_SECONDS", 0.3)
    program = """
import os, pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(os.environ["FOLLOWED"]).write_text(f"{os.getpid()}\\n")
time.sleep(600)
"""
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(program, tmp_path, show=interrupt)
    assert not alive(pids[0])


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        os.kill(pid, signal.SIG_DFL)
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state not in "ZX"
