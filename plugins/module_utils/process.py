# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Running programs so that nothing is left behind, and ending in order when told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar

from .errors import BuilderError, Cancelled
from .orphans import Watchman
from .output import Kept, chunks, lines

#: The most bytes that a program may print for this one to read.
MOST_OUTPUT = 512 * 1024 * 1024

_T = TypeVar("_T")

_GRACE_SECONDS = 5.0
_WATCH_SECONDS = 0.5
_LAST_WORDS_SECONDS = 1.0


class _Scope:
    """What is ended together: the programs that are being run, and whoever waits for ``stop``."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.running: set[subprocess.Popen[Any]] = set()

    def end(self) -> None:
        """Ask all of it to end."""
        self.stop.set()
        for program in list(self.running):
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGTERM)


# Signals reach the main thread only, so what other threads run is ended through these. Each block of
# ``cancellable`` leaves a new one behind; threads of ``side_by_side`` have one of their own.
_scope = _Scope()
_sides: set[_Scope] = set()
_here = threading.local()
# What signals would have raised in the main thread while it starts a program (see ``undisturbed``).
_late: Optional[list[Cancelled]] = None


@dataclass(frozen=True)
class Result:
    """What a program left: its exit ``status`` and its output as text.

    Of long messages, those on standard error, only the beginning and the end are kept.
    """

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
    ``subprocess.TimeoutExpired``), the whole group is ended first. It ends with this process, too, however
    that ends. In another thread than the
    main one, ``Cancelled`` is raised once the main thread has been told to stop. Raises
    ``FileNotFoundError`` where the program does not exist, and ``BuilderError`` ``output_too_large``.
    """
    child: Optional[Child] = None
    try:
        with undisturbed():
            child = Child(argv, env=env, cwd=cwd)
        return _attended(child, stdin, on_stderr_line, timeout)
    finally:
        if child is not None:
            child.end()


class Child:
    """A program that is being run, in a process group of its own, and that ends with this process.

    To be made ``undisturbed``. Whoever makes it calls ``end``. ``settings`` are those of
    ``subprocess.Popen``; without them input and output are pipes of bytes. Raises ``FileNotFoundError`` where
    the program does not exist.
    """

    def __init__(self, argv: Sequence[str], **settings: Any) -> None:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.name = os.path.basename(argv[0])
        self.program: subprocess.Popen[bytes] = subprocess.Popen(
            list(argv), start_new_session=True, **{**pipes, **settings}
        )
        self._scope = _current()
        self._scope.running.add(self.program)
        self._watchman = Watchman(self.program.pid)

    def end(self, grace: Optional[float] = None) -> None:
        """End the group, if the program has not come to its own end: a request, then, after ``grace``, force.

        ``grace`` is in seconds.
        """
        try:
            if self.program.poll() is None:
                _end_group(self.program, grace)
        finally:
            self._scope.running.discard(self.program)
            self._watchman.dismiss()


def _attended(
    child: Child,
    stdin: str,
    on_stderr_line: Optional[Callable[[str], None]],
    timeout: Optional[float],
) -> Result:
    """What ``child`` leaves when it has ended by itself; see ``run``."""
    stop = _current().stop
    program = child.program
    input_, output, messages = program.stdin, program.stdout, program.stderr
    assert input_ is not None
    assert output is not None
    assert messages is not None
    stdout: list[bytes] = []
    stderr = Kept()
    raised: list[BaseException] = []

    def collect_stderr() -> None:
        if on_stderr_line is None:
            for chunk in chunks(messages):
                stderr.add(chunk)
        else:
            for line in lines(messages, stderr):
                on_stderr_line(line)

    def collect_stdout() -> None:
        size = 0
        for chunk in chunks(output):
            stdout.append(chunk)
            size += len(chunk)
            if size > MOST_OUTPUT:
                raise BuilderError(
                    "output_too_large",
                    f"{child.name} prints more than {MOST_OUTPUT >> 20} MiB.",
                    hint="Check what it was asked for.",
                )

    def guarded(collect: Callable[[], None]) -> None:
        try:
            collect()
        except BaseException as error:
            # Nobody reads on, so a child that goes on would wait for ever.
            raised.append(error)
            _end_group(program)

    readers = [
        threading.Thread(target=guarded, args=(collect,), daemon=True)
        for collect in (collect_stderr, collect_stdout)
    ]
    for reader in readers:
        reader.start()
    try:
        with suppress(BrokenPipeError):
            input_.write(stdin.encode("utf-8", "surrogateescape"))
        with suppress(BrokenPipeError):
            input_.close()
        if stop.is_set():
            raise Cancelled()
        if timeout is not None:
            # wait() with a timeout looks only every 50 ms; the end of the output is noticed at once.
            end = time.monotonic() + timeout
            readers[1].join(timeout)
            timeout = max(0.0, end - time.monotonic())
        status = program.wait(timeout)
        if stop.is_set():
            raise Cancelled()
    except BaseException:
        # What it said until then is heard all the same.
        child.end()
        for reader in readers:
            reader.join(_LAST_WORDS_SECONDS)
        raise
    for reader in readers:
        reader.join(_GRACE_SECONDS)
    if raised:
        raise raised[0]
    return Result(status, b"".join(stdout).decode("utf-8", "replace"), stderr.text())


def pause(seconds: float) -> None:
    """Wait, but no longer than until ``Cancelled`` is raised: in other threads, too, as ``run`` does it."""
    if threading.current_thread() is threading.main_thread():
        # The signal's handler raises here. It also sets the event, which must not be waited for meanwhile.
        time.sleep(seconds)
    elif _current().stop.wait(seconds):
        raise Cancelled()


def side_by_side(calls: Sequence[Callable[[], _T]]) -> list[_T]:
    """What ``calls`` give, in their order: each in a thread of its own, all at the same time.

    The first error that one of them raises, or that is raised here meanwhile, ends the others: what they
    ``run`` and their pauses raise ``Cancelled`` there. It is raised here once all have ended.
    """
    scope = _Scope()
    if _current().stop.is_set():
        scope.stop.set()

    def inside(call: Callable[[], _T]) -> _T:
        _here.scope = scope
        return call()

    with ThreadPoolExecutor(max(1, len(calls))) as pool:
        _sides.add(scope)
        try:
            futures = [pool.submit(inside, call) for call in calls]
            ended = wait(futures, return_when=FIRST_EXCEPTION).done
            # In this order; what the end of the others raises is none of these yet.
            failed = [future for future in futures if future in ended and future.exception()]
        finally:
            scope.end()
            _sides.discard(scope)
    return [future.result() for future in failed or futures]


def _current() -> _Scope:
    """The scope of this thread."""
    scope: _Scope = getattr(_here, "scope", _scope)
    return scope


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
    child: Optional[Child] = None
    try:
        with undisturbed():
            child = Child(argv, stderr=subprocess.DEVNULL)
        yield Filter(child.program, feed)
    finally:
        if child is not None:
            child.end()


@contextmanager
def started(argv: Sequence[str], *, env: Mapping[str, str], cwd: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``argv`` as ``run`` does, for a caller that reads its output, and waits for it, in the block.

    It gets no input. Whatever is left of its group at the end of the block is ended. Raises
    ``FileNotFoundError`` where the program does not exist, and ``Cancelled`` as ``run`` does.
    """
    child: Optional[Child] = None
    stop = _current().stop
    try:
        with undisturbed():
            child = Child(argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL)
        if stop.is_set():
            raise Cancelled()
        yield child.program
        if stop.is_set():
            raise Cancelled()
    finally:
        if child is not None:
            child.end()
            with suppress(ProcessLookupError):
                os.killpg(child.program.pid, signal.SIGKILL)
            for stream in (child.program.stdout, child.program.stderr):
                if stream is not None:
                    stream.close()


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


def _end_group(child: subprocess.Popen[Any], grace: Optional[float] = None) -> None:
    patience = _GRACE_SECONDS if grace is None else grace
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, _GRACE_SECONDS)):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


@contextmanager
def cancellable(watched: Sequence[int] = ()) -> Iterator[None]:
    """Turn SIGINT, SIGTERM, SIGHUP and the death of any ``watched`` process into ``Cancelled``.

    ``Cancelled`` is raised once in the main thread, so that ``finally`` blocks clean up
    undisturbed; later signals are ignored until the end of the block.
    """
    global _scope
    finished = threading.Event()

    def handle(number: int, frame: object) -> None:
        if not _scope.stop.is_set():
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
        _scope = _Scope()


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
        if not _scope.stop.is_set():
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
    for scope in (_scope, *_sides):
        scope.end()
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
