# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils import process
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import Cancelled
from ansible_collections.sodalite.image_builder.plugins.module_utils.process import (
    cancellable,
    filtered,
    pause,
    run,
    side_by_side,
)

# Starts another program, tells its id by a file, and waits for it.
OBEDIENT = 'sleep 600 & echo $! > "$0.part"; mv "$0.part" "$0"; wait'
# Neither stops when asked to.
STUBBORN = f"trap '' TERM; {OBEDIENT}"


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_GRACE_SECONDS", 0.5)
    monkeypatch.setattr(process, "_WATCH_SECONDS", 0.05)


@pytest.fixture
def grandchild(tmp_path: Path) -> Iterator[Path]:
    """The file in which a program tells the id of the one that it started, which is gone afterwards."""
    file = tmp_path / "grandchild"
    yield file
    assert file.exists(), "the program never came so far"
    assert gone(int(file.read_text(encoding="utf-8")))


def gone(pid: int) -> bool:
    """Whether the process ends; a killed orphan may take a moment to disappear."""
    deadline = time.monotonic() + 10
    while process._birth(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def when_there(file: Path, act: object) -> threading.Thread:
    """A thread that calls ``act`` once ``file`` is there."""

    def wait() -> None:
        deadline = time.monotonic() + 20
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        act()  # type: ignore[operator]

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def signal_self() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_status_output_and_errors_come_back() -> None:
    result = run(["sh", "-c", "cat; echo ünder >&2; exit 7"], stdin="gïven\n")
    assert (result.status, result.stdout, result.stderr) == (7, "gïven\n", "ünder\n")


def test_bytes_that_are_no_text_do_not_stop_the_reading() -> None:
    assert run(["printf", r"a\377b"]).stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_lines_of_standard_error_are_told_as_they_come(tmp_path: Path) -> None:
    # The program goes on only when its first line was heard.
    heard = tmp_path / "heard"
    lines: list[str] = []

    def hear(line: str) -> None:
        lines.append(line)
        heard.touch()

    script = 'echo one >&2; while ! [ -e "$0" ]; do sleep 0.02; done; echo two >&2'
    result = run(["sh", "-c", script, str(heard)], on_stderr_line=hear, timeout=30)
    assert (result.status, lines) == (0, ["one", "two"])


def test_environment_and_folder_are_those_given(tmp_path: Path) -> None:
    result = run(["/bin/sh", "-c", "pwd; env"], env={"A": "1"}, cwd=str(tmp_path))
    assert result.stdout.splitlines()[0] == str(tmp_path)
    assert "A=1" in result.stdout.splitlines()
    assert "HOME" not in result.stdout


def test_no_shell_reads_the_arguments() -> None:
    assert run(["printf", "%s", "$(id) `id` ; id"]).stdout == "$(id) `id` ; id"


def test_a_program_may_end_without_reading_its_input() -> None:
    assert run(["true"], stdin="x" * 10_000_000).status == 0


def test_a_program_that_is_not_there_is_an_error_of_the_system() -> None:
    with pytest.raises(FileNotFoundError):
        run(["no-such-program"])


def test_after_the_timeout_nothing_of_the_program_runs(grandchild: Path) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        run(["sh", "-c", STUBBORN, str(grandchild)], timeout=2)


# Tells of itself as ``OBEDIENT``, and then fills the pipe of its standard error for ever, or says one line.
CHATTY = 'sleep 600 & echo $! > "$0"; while :; do echo "one line of many" >&2; done'
SILENT = 'sleep 600 & echo $! > "$0"; echo "the only line" >&2; wait'


@pytest.mark.parametrize(
    "script", [CHATTY, f"trap '' TERM; {CHATTY}", SILENT], ids=["chatty", "stubborn", "silent"]
)
@pytest.mark.parametrize("error", [ZeroDivisionError(), Cancelled(), KeyboardInterrupt()], ids=repr)
def test_what_is_raised_where_a_line_is_heard_ends_the_program_and_arrives(
    grandchild: Path, error: BaseException, script: str
) -> None:
    def hear(line: str) -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        run(["sh", "-c", script, str(grandchild)], on_stderr_line=hear)
    assert raised.value is error


def test_what_is_raised_where_the_last_line_is_heard_arrives() -> None:
    def hear(line: str) -> None:
        raise ZeroDivisionError(line)

    with pytest.raises(ZeroDivisionError, match="last"):
        run(["sh", "-c", "echo last >&2"], on_stderr_line=hear)


@pytest.mark.parametrize("script", [OBEDIENT, STUBBORN], ids=["obedient", "stubborn"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_program_with_all_that_it_started(
    grandchild: Path, number: signal.Signals, script: str
) -> None:
    when_there(grandchild, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Cancelled), cancellable():
        run(["sh", "-c", script, str(grandchild)])


def test_cleaning_up_is_not_interrupted_by_more_signals(grandchild: Path) -> None:
    cleaned = []

    def work() -> None:
        try:
            run(["sh", "-c", OBEDIENT, str(grandchild)])
        finally:
            signal_self()
            cleaned.append(True)

    when_there(grandchild, signal_self)
    with pytest.raises(Cancelled), cancellable():
        work()
    assert cleaned


def test_afterwards_signals_mean_what_they_meant_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with cancellable():
        pass
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_the_end_of_a_watched_process_ends_the_work(grandchild: Path) -> None:
    watched = subprocess.Popen(["sleep", "600"])

    def end() -> None:
        watched.kill()

    when_there(grandchild, end)
    # Nobody waits for it, so it stays a zombie: that counts as gone.
    with pytest.raises(Cancelled), cancellable([watched.pid]):
        run(["sh", "-c", OBEDIENT, str(grandchild)])
    watched.wait()


def test_while_the_watched_process_lives_the_work_goes_on() -> None:
    with cancellable([os.getppid(), os.getpid()]):
        assert run(["sleep", "0.3"]).status == 0


def test_what_other_threads_run_ends_too(tmp_path: Path) -> None:
    files = [tmp_path / "a", tmp_path / "b"]

    def work(file: Path) -> str:
        try:
            run(["sh", "-c", OBEDIENT, str(file)])
        except Cancelled:
            return "cancelled"
        return "ended"

    when_there(files[0], lambda: when_there(files[1], signal_self))
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(work, file) for file in files]
        with pytest.raises(Cancelled), cancellable():
            wait(answers)
    assert [answer.result() for answer in answers] == ["cancelled", "cancelled"]
    assert all(gone(int(file.read_text(encoding="utf-8"))) for file in files)


def test_after_a_cancellation_other_threads_are_told_too() -> None:
    told: list[BaseException | None] = []

    def interrupted(pool: ThreadPoolExecutor) -> None:
        try:
            signal_self()
        finally:
            told.append(pool.submit(run, ["sleep", "600"]).exception())

    with ThreadPoolExecutor(1) as pool, pytest.raises(Cancelled), cancellable():
        interrupted(pool)
    assert isinstance(told[0], Cancelled)


def test_a_pause_ends_in_every_thread_when_the_work_is_cancelled() -> None:
    begun = threading.Event()

    def work() -> None:
        begun.set()
        pause(600)

    def pause_twice(pool: ThreadPoolExecutor) -> None:
        others.append(pool.submit(work))
        begun.wait(20)
        when_there(Path("/"), signal_self)
        pause(600)

    others: list[Future[None]] = []
    with ThreadPoolExecutor(1) as pool:
        with pytest.raises(Cancelled), cancellable():
            pause_twice(pool)
        assert isinstance(others[0].exception(), Cancelled)


def test_a_pause_that_nobody_cancels_is_just_waited_for() -> None:
    with ThreadPoolExecutor(1) as pool, cancellable():
        pause(0.01)
        pool.submit(pause, 0.01).result()


def test_work_after_a_cancelled_one_is_not_cancelled(grandchild: Path) -> None:
    when_there(grandchild, signal_self)
    with pytest.raises(Cancelled), cancellable():
        run(["sh", "-c", OBEDIENT, str(grandchild)])
    with cancellable():
        assert run(["true"]).status == 0


@pytest.mark.parametrize("start", [run, lambda argv: filtered(argv, lambda: b"").__enter__()])
def test_a_program_that_is_being_started_when_the_signal_comes_is_ended(
    start: Callable[[list[str]], object], grandchild: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: object, **settings: object) -> None:
            super().__init__(*args, **settings)  # type: ignore[call-overload]
            when_there(grandchild, signal_self).join()
            time.sleep(0)  # where the signal is taken

    monkeypatch.setattr(subprocess, "Popen", Slow)
    with pytest.raises(Cancelled), cancellable():
        start(["sh", "-c", OBEDIENT, str(grandchild)])


def test_what_is_done_side_by_side_is_done_at_the_same_time_and_given_in_order() -> None:
    together = threading.Barrier(3)
    assert side_by_side([lambda n=n: (together.wait(20), n)[1] for n in range(3)]) == [0, 1, 2]
    assert side_by_side([]) == []


@pytest.mark.parametrize("at_work", ["a program", "a pause"])
def test_the_first_error_ends_what_is_done_beside_it_and_nothing_else(
    at_work: str, grandchild: Path, tmp_path: Path
) -> None:
    ended: list[Exception] = []
    begun = tmp_path / "begun"

    def work() -> None:
        try:
            if at_work == "a program":
                run(["sh", "-c", OBEDIENT, str(grandchild)])
            else:
                grandchild.write_text("0", encoding="utf-8")
                pause(600)
        except Cancelled as error:
            ended.append(error)
            raise

    def fail() -> None:
        deadline = time.monotonic() + 20
        while not grandchild.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        raise ValueError("nobody listens")

    with ThreadPoolExecutor(1) as pool:
        elsewhere = pool.submit(run, ["sh", "-c", 'while ! [ -e "$0" ]; do sleep 0.02; done', str(begun)])
        with pytest.raises(ValueError, match="nobody listens"):
            side_by_side([work, fail])
        begun.touch()
        assert elsewhere.result().status == 0
    assert len(ended) == 1
    assert run(["true"]).status == 0


def test_an_interrupt_ends_what_is_done_side_by_side(grandchild: Path) -> None:
    ended: list[Exception] = []

    def wait_long() -> None:
        try:
            pause(600)
        except Cancelled as error:
            ended.append(error)
            raise

    when_there(grandchild, signal_self)
    with pytest.raises(Cancelled), cancellable():
        side_by_side([lambda: run(["sh", "-c", OBEDIENT, str(grandchild)]), wait_long])
    assert len(ended) == 1
