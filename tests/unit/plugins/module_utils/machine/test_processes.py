# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine import processes

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a shell whose executable lies in a folder of its own; it says ``ready`` in its log."""
    started: list[subprocess.Popen[bytes]] = []
    (tmp_path / "prefix").mkdir()
    shell = shutil.copy(Path("/bin/sh").resolve(), tmp_path / "prefix" / "shell")

    def run(script: str) -> subprocess.Popen[bytes]:
        log = tmp_path / "logs" / "log"
        started.append(processes.start_detached([str(shell), "-c", f"{script}; read x"], {}, log))
        return started[-1]

    yield run
    for child in started:
        child.kill()
        child.wait()


@pytest.fixture
def waiting(tmp_path: Path) -> str:
    """A script that waits for ever in the shell itself."""
    subprocess.run(["mkfifo", tmp_path / "never"], check=True)
    return f"echo ready; read x <{tmp_path}/never"


def ready(tmp_path: Path) -> bool:
    log = tmp_path / "logs" / "log"
    return processes.wait_until(lambda: log.exists() and "ready" in log.read_text(), 30)


def test_a_program_is_known_by_the_folder_of_its_executable(
    start: Start, waiting: str, tmp_path: Path
) -> None:
    child = start(waiting)
    assert ready(tmp_path)
    assert processes.processes(str(tmp_path / "prefix")) == [child.pid]
    assert processes.processes(str(tmp_path / "prefix" / "shell")) == [child.pid]
    assert processes.processes(str(tmp_path / "pre")) == []
    assert processes.command_line(child.pid)[1] == "-c"


def test_a_program_whose_file_has_gone_is_still_known(start: Start, waiting: str, tmp_path: Path) -> None:
    child = start(waiting)
    assert ready(tmp_path)
    (tmp_path / "prefix" / "shell").unlink()
    assert processes.processes(str(tmp_path / "prefix")) == [child.pid]


def test_a_program_that_will_not_end_is_forced_to(start: Start, waiting: str, tmp_path: Path) -> None:
    child = start(f"trap '' TERM; {waiting}")
    assert ready(tmp_path)
    processes.end_processes(lambda: processes.processes(str(tmp_path / "prefix")), 0.2)
    assert child.wait(30) == -9


def test_waiting_ends_with_the_condition_or_the_time() -> None:
    assert processes.wait_until(lambda: True, 0)
    assert not processes.wait_until(lambda: False, 0.1)


def test_a_process_that_has_gone_has_no_arguments(start: Start) -> None:
    child = start("exit 0")
    child.wait()
    assert processes.command_line(child.pid) == []
