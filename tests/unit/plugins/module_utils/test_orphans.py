# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Programs end with the one that started them, also where that is killed, and what they print is bounded."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils import process
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuilderError
from ansible_collections.sodalite.image_builder.plugins.module_utils.output import Kept
from ansible_collections.sodalite.image_builder.plugins.module_utils.process import run

from tests.support.leaks import descendants

# Starts a shell in a thread that tells its own id and that of what it started, and waits for them.
STARTER = """
import sys, threading
from ansible_collections.sodalite.image_builder.plugins.module_utils.process import filtered, run
thread = threading.Thread(target=run, args=(["sh", "-c", sys.argv[2], sys.argv[1]],))
thread.start()
thread.join()
"""
OBEDIENT = 'sleep 600 & echo $$ $! > "$0.part"; mv "$0.part" "$0"; wait'
STUBBORN = f"trap '' TERM; {OBEDIENT}"


def told(file: Path) -> list[int]:
    """The ids in ``file``, once they are there."""
    deadline = time.monotonic() + 20
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [int(word) for word in file.read_text().split()]


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 30
    while any(process._birth(pid) for pid in pids):
        assert time.monotonic() < deadline, "a program outlives the one that started it"
        time.sleep(0.05)


@pytest.mark.parametrize("program", [OBEDIENT, STUBBORN], ids=["obedient", "stubborn"])
def test_what_a_killed_process_runs_ends_with_it(program: str, tmp_path: Path) -> None:
    file = tmp_path / "ids"
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(file), program])
    pids = told(file)
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    wait_until_gone(pids)


def test_nobody_is_left_who_watches_a_program_that_has_ended() -> None:
    before = descendants()
    run(["true"])
    with pytest.raises(subprocess.TimeoutExpired):
        run(["sleep", "600"], timeout=0.1)
    with pytest.raises(FileNotFoundError):
        run(["/no/such/program"])
    assert set(descendants()) == set(before)


def test_without_a_shell_programs_run_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen

    def refuse(argv: list[str], **settings: object) -> object:
        if "watchman" in argv:
            raise FileNotFoundError(argv[0])
        return start(argv, **settings)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert run(["echo", "done"]).stdout == "done\n"


def test_of_endless_messages_the_beginning_and_the_end_are_kept() -> None:
    program = "import sys\nfor n in range(200_000): sys.stderr.write(f'message {n}\\n')"
    heard = []
    result = run([sys.executable, "-c", program], on_stderr_line=heard.append)
    assert len(heard) == 200_000
    assert result.stderr.startswith("message 0\nmessage 1\n")
    assert result.stderr.endswith("\nmessage 199999\n")
    assert "bytes are left out here" in result.stderr
    assert len(result.stderr) < 2**20


def test_of_a_line_without_end_the_beginning_is_told_and_the_next_one_is_whole() -> None:
    program = "import sys\nfor _ in range(300): sys.stderr.write('x' * 2**16)\nsys.stderr.write('\\nnext')"
    heard: list[str] = []
    run([sys.executable, "-c", program], on_stderr_line=heard.append)
    assert [len(line) for line in heard] == [8 * 2**20, 4]
    assert heard[1] == "next"


def test_a_program_that_prints_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "MOST_OUTPUT", 2**20)
    before = descendants()
    with pytest.raises(BuilderError, match="yes prints more than 1 MiB") as raised:
        run(["yes"])
    assert raised.value.code == "output_too_large"
    assert set(descendants()) == set(before)


@pytest.mark.parametrize("sizes", [[3], [100], [10, 10, 10], [1] * 50, [4, 4], [9], [5, 1, 60]])
def test_what_is_kept_is_the_beginning_and_the_end_whatever_the_pieces(sizes: list[int]) -> None:
    kept, whole = Kept(8), b""
    for number, size in enumerate(sizes):
        piece = bytes([65 + number % 26]) * size
        kept.add(piece)
        whole += piece
    text = kept.text()
    if len(whole) <= 8:
        assert text == whole.decode()
    else:
        gap = f"\n[{len(whole) - 8} bytes are left out here]\n"
        assert text == whole[:4].decode() + gap + whole[-4:].decode()


def test_messages_cost_no_more_memory_than_what_is_kept_of_them() -> None:
    program = (
        "import resource, sys\n"
        "from ansible_collections.sodalite.image_builder.plugins.module_utils.process import run\n"
        "run(['sh', '-c', 'head --bytes=1000 /dev/zero >&2'])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "run(['sh', '-c', 'yes \"$(printf %1000s)\" | head --bytes=100000000 >&2'], on_stderr_line=len)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) < 20 * 1024


def test_what_reads_the_progress_may_fail_while_the_program_still_writes() -> None:
    def fail(line: str) -> None:
        raise ValueError(line)

    before = descendants()
    with pytest.raises(ValueError, match="y"):
        run(["sh", "-c", "yes >&2"], on_stderr_line=fail)
    assert set(descendants()) == set(before)
