# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Running programs so that nothing is left behind, and ending in order when told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Callable, Optional

from .errors import Cancelled

_GRACE_SECONDS = 5.0
_WATCH_SECONDS = 0.5

# Signals reach the main thread only, so what other threads run is ended through these. Each block of
# ``cancellable`` leaves a new event behind.
_stop = threading.Event()
_running: set[subprocess.Popen[Any]] = set()
# What signals would have raised in the main thread while it starts a program (see ``undisturbed``).
_late: Optional[list[Cancelled]] = None


@dataclass(frozen=True)
class Result:
    """What a program left: its exit ``status`` and its output as text."""

    status: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str],
    *,
    env: Optional[Mapping[str, str]] = None,
    cwd: Optional[str] = None,
    stdin: str = "",
    on_stderr_line: Optional[Callable[[str], None]] = None,
    timeout: Optional[float] = None,
) -> Result:
    """Run ``argv`` (never a shell) in a process group of its own and wait for it.

    ``on_stderr_line`` gets each line of standard error as it comes, in another thread; what it raises ends
    this call, too. Whatever ends it (an exception such as ``Cancelled``, or ``timeout`` seconds, which raises
    ``subprocess.TimeoutExpired``), the whole group is ended first. In another thread than the
    main one, ``Cancelled`` is raised once the main thread has been told to stop. Raises
    ``FileNotFoundError`` where the program does not exist.
    """
    child: Optional[subprocess.Popen[str]] = None
    try:
        with undisturbed():
            child = subprocess.Popen(
                list(argv),
                env=None if env is None else dict(env),
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
            _running.add(child)
        return _attended(child, stdin, on_stderr_line, timeout)
    except BaseException:
        if child is not None:
            _end_group(child)
        raise
    finally:
        if child is not None:
            _running.discard(child)


def _attended(
    child: subprocess.Popen[str],
    stdin: str,
    on_stderr_line: Optional[Callable[[str], None]],
    timeout: Optional[float],
) -> Result:
    """What ``child`` leaves when it has ended by itself; see ``run``."""
    stop = _stop
    stdout: list[str] = []
    stderr: list[str] = []
    raised: list[BaseException] = []

    def collect_stderr() -> None:
        assert child.stderr is not None
        for line in child.stderr:
            stderr.append(line)
            if on_stderr_line is not None:
                try:
                    on_stderr_line(line.rstrip("\n"))
                except BaseException as error:
                    # Nobody reads on, so a child that goes on would wait for ever.
                    raised.append(error)
                    _end_group(child)
                    return

    def collect_stdout() -> None:
        assert child.stdout is not None
        stdout.append(child.stdout.read())

    readers = [threading.Thread(target=target, daemon=True) for target in (collect_stderr, collect_stdout)]
    for reader in readers:
        reader.start()
    assert child.stdin is not None
    try:
        child.stdin.write(stdin)
        child.stdin.close()
    except BrokenPipeError:
        pass
    if stop.is_set():
        raise Cancelled()
    if timeout is not None:
        # wait() with a timeout looks only every 50 ms; the end of the output is noticed at once.
        end = time.monotonic() + timeout
        readers[1].join(timeout)
        timeout = max(0.0, end - time.monotonic())
    status = child.wait(timeout)
    if stop.is_set():
        raise Cancelled()
    for reader in readers:
        reader.join(_GRACE_SECONDS)
    if raised:
        raise raised[0]
    return Result(status, "".join(stdout), "".join(stderr))


def pause(seconds: float) -> None:
    """Wait, but no longer than until ``Cancelled`` is raised: in other threads, too, as ``run`` does it."""
    if threading.current_thread() is threading.main_thread():
        # The signal's handler raises here. It also sets the event, which must not be waited for meanwhile.
        time.sleep(seconds)
    elif _stop.wait(seconds):
        raise Cancelled()


class Filter:
    """A program that turns what it is fed into something else, as ``filtered`` runs it."""

    def __init__(self, child: subprocess.Popen[bytes], feed: Callable[[], bytes]) -> None:
        self._child = child
        self._feed = feed
        self._error: Optional[Exception] = None
        self._feeder = threading.Thread(target=self._run, daemon=True)
        self._feeder.start()

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes of its output, none at the end. Raises what ``feed`` raised."""
        assert self._child.stdout is not None
        content = self._child.stdout.read(size)
        if not content:
            self._feeder.join()
            if self._error is not None:
                raise self._error
        return content

    def status(self) -> int:
        """Its exit status, once its output is read."""
        return self._child.wait()

    def _run(self) -> None:
        assert self._child.stdin is not None
        try:
            while chunk := self._feed():
                self._child.stdin.write(chunk)
        except BrokenPipeError:
            pass  # it has seen enough
        except Exception as error:
            self._error = error
        with suppress(BrokenPipeError):
            self._child.stdin.close()


@contextmanager
def filtered(argv: Sequence[str], feed: Callable[[], bytes]) -> Iterator[Filter]:
    """Run ``argv`` as ``run`` does, on what ``feed()`` gives in another thread until it gives nothing.

    At the end of the block the program is ended, if it has not come to its own.
    """
    child: Optional[subprocess.Popen[bytes]] = None
    try:
        with undisturbed():
            child = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            _running.add(child)
        yield Filter(child, feed)
    finally:
        if child is not None:
            _running.discard(child)
            if child.poll() is None:
                _end_group(child)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Obey a signal that comes in the block only at its end.

    What a program is started in, up to where it is known to what ends it; the block stands inside that.
    Raises ``Cancelled`` for signals of ``cancellable`` and ``time_limit``.
    """
    global _late
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _late = []
    try:
        yield
    finally:
        late, _late = _late, None
        if late:
            raise late[0]


def _end_group(child: subprocess.Popen[Any]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return
        try:
            child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def cancellable(watched: Sequence[int] = ()) -> Iterator[None]:
    """Turn SIGINT, SIGTERM, SIGHUP and the death of any ``watched`` process into ``Cancelled``.

    ``Cancelled`` is raised once in the main thread, so that ``finally`` blocks clean up
    undisturbed; later signals are ignored until the end of the block.
    """
    global _stop
    finished = threading.Event()

    def handle(number: int, frame: object) -> None:
        if not _stop.is_set():
            _end_all(Cancelled())

    def watch() -> None:
        births = {pid: _birth(pid) for pid in watched}
        while not finished.wait(_WATCH_SECONDS):
            if any(_birth(pid) != birth for pid, birth in births.items()):
                os.kill(os.getpid(), signal.SIGTERM)
                return

    before = {n: signal.signal(n, handle) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    watcher = threading.Thread(target=watch, daemon=True)
    if watched:
        watcher.start()
    try:
        yield
    finally:
        finished.set()
        if watched:
            watcher.join(2 * _WATCH_SECONDS)
        for number, handler in before.items():
            signal.signal(number, handler)
        # What still runs in other threads keeps the old one.
        _stop = threading.Event()


@contextmanager
def time_limit(seconds: Optional[float], spent: float = 0.0) -> Iterator[None]:
    """Raise ``Cancelled`` with code ``timeout`` in the main thread after ``seconds``; ``None`` is no limit.

    ``spent`` seconds of them are over already. It stands inside ``cancellable``; a signal that comes
    first wins.
    """
    if seconds is None:
        yield
        return

    def handle(number: int, frame: object) -> None:
        if not _stop.is_set():
            what = f"The time limit of {seconds:g} seconds is over."
            _end_all(Cancelled(what, "timeout", "Raise options.timeout."))

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, max(seconds - spent, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _end_all(error: Cancelled) -> None:
    """End what runs in all threads, and raise ``error`` as soon as nothing is being started."""
    _stop.set()
    for child in list(_running):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)
    if _late is None:
        raise error
    _late.append(error)


def _birth(pid: int) -> str:
    """The process's start time since boot, so that a reused id is noticed; empty when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
