# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One program run within limits: of processes, memory, what it says, the disk, and time.

What git does is decided by servers and repositories that nobody vouches for: a few kilobytes can make it
start programs without end, fill the disk or the memory, or talk for ever. So none of its runs is without
these limits. Each process gets some from the kernel, before it does anything; what all of them take together
is looked at while they run, so it can be passed by what they take between two looks.
"""

from __future__ import annotations

import errno
import os
import selectors
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Callable, Optional

from ... import process
from ...output import Kept
from ...policy import SourceLimits

_FIRST_LOOK_SECONDS, _LOOK_SECONDS = 0.1, 0.25
# To measure a large tree takes a while, so it is not done all the time.
_SHARE_OF_MEASURING = 5
_CHUNK = 1 << 16
_TALKERS = b"git-remote-"
# Python can set limits in a new process only where no other thread runs (see ``preexec_fn``). The values and
# the program come as arguments. Data, in KiB, is what a process has for itself, not the packs that it maps;
# files are in blocks of 512 bytes. A limit that is lower already stays.
_LIMITED = 'ulimit -c 0; ulimit -d "$1" 2>&-; ulimit -f "$2" 2>&-; shift 2; exec "$@"'
#: Bytes of standard output that are kept, and of standard error that are taken at all.
MOST_OUTPUT, MOST_MESSAGES = 64 << 20, 4 << 20
# What is left to others of what a file system has left: a tenth, and no more than that.
_RESERVED_SHARE, _RESERVED_BYTES, _RESERVED_FILES = 10, 1 << 30, 100_000


class LimitPassed(Exception):
    """A program was ended since it took too much. The text, a clause, says of what."""


class DiskFull(LimitPassed):
    """The file system has too little left."""


@dataclass(frozen=True)
class Bounds:
    """What a program may take: see ``SourceLimits``. ``folder`` is where it writes, ``""`` for nowhere.

    ``memory`` is less than usual, in bytes; ``talk_memory`` that of the program itself and of those by which
    git talks to servers, where others that it starts have the work.
    """

    limits: SourceLimits
    folder: str = ""
    memory: Optional[int] = None
    talk_memory: Optional[int] = None

    @property
    def most_memory(self) -> int:
        """Bytes of memory, of each process and of all together."""
        return min(self.limits.memory, self.memory or self.limits.memory)


def run(
    argv: Sequence[str],
    bounds: Bounds,
    *,
    env: Mapping[str, str],
    cwd: str,
    seconds: float,
    take: Optional[Callable[[bytes], None]] = None,
) -> process.Result:
    """Run ``argv`` and return what it left; ``take`` gets its output as it comes, else it is kept.

    Output is text in UTF-8; a byte that is none is a surrogate, as in names of files (see ``os.fsdecode``).
    Raises ``LimitPassed``, ``subprocess.TimeoutExpired`` after ``seconds``, ``FileNotFoundError`` where
    the program does not exist, what ``take`` raises, and ``Cancelled``.
    """
    kept, messages = bytearray(), _Messages()

    def keep(chunk: bytes) -> None:
        if len(kept) + len(chunk) > MOST_OUTPUT:
            raise LimitPassed(f"more than {MOST_OUTPUT >> 20} MiB of output")
        kept.extend(chunk)

    program = shutil.which(argv[0], path=env.get("PATH"))
    if program is None:
        raise FileNotFoundError(errno.ENOENT, "there is no such program", argv[0])
    limits = [str(bounds.most_memory >> 10), str(bounds.limits.bytes >> 9)]
    limited = ["/bin/sh", "-c", _LIMITED, "limited", *limits, program, *argv[1:]]
    end = time.monotonic() + seconds
    with process.started(limited, env=env, cwd=cwd) as child, selectors.DefaultSelector() as selector:
        watch = _Watch(child.pid, bounds)
        assert child.stdout is not None
        assert child.stderr is not None
        selector.register(child.stdout, selectors.EVENT_READ, take or keep)
        selector.register(child.stderr, selectors.EVENT_READ, messages.take)
        while selector.get_map():
            left = end - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(list(argv), seconds)
            for key, _ in selector.select(min(left, watch.due())):
                chunk = os.read(key.fd, _CHUNK)
                if chunk:
                    key.data(chunk)
                else:
                    selector.unregister(key.fileobj)
            watch.look()
        status = child.wait(max(end - time.monotonic(), 0.1))
    return process.Result(status, kept.decode("utf-8", "surrogateescape"), messages.text())


class _Messages(Kept):
    """Standard error, of which there is an end."""

    def __init__(self) -> None:
        super().__init__()
        self._count = 0

    def take(self, chunk: bytes) -> None:
        """Keep ``chunk``, or some of it. Raises ``LimitPassed``."""
        self._count += len(chunk)
        if self._count > MOST_MESSAGES:
            raise LimitPassed(f"more than {MOST_MESSAGES >> 20} MiB of messages")
        self.add(chunk)


class _Watch:
    """Looks at what a program and all that it starts take, each so often."""

    def __init__(self, pid: int, bounds: Bounds) -> None:
        self._pid = pid
        self._bounds = bounds
        self._next = time.monotonic() + _FIRST_LOOK_SECONDS
        self._disk = _Disk(bounds) if bounds.folder else None

    def due(self) -> float:
        """Seconds until the next look."""
        return max(self._next - time.monotonic(), 0.0)

    def look(self) -> None:
        """Look, if it is time to. Raises ``LimitPassed``."""
        if self.due() > 0:
            return
        pids = _session(self._pid)
        limits = self._bounds.limits
        if len(pids) > limits.processes:
            raise LimitPassed(f"more than {limits.processes} processes at a time")
        memory = {pid: _memory(pid) for pid in pids}
        if sum(memory.values()) > self._bounds.most_memory:
            raise LimitPassed(f"more than {self._bounds.most_memory >> 20} MiB of memory")
        talk = self._bounds.talk_memory
        for pid, taken in memory.items():
            if talk is not None and taken > talk and (pid == self._pid or _name(pid).startswith(_TALKERS)):
                raise LimitPassed(f"more than {talk >> 20} MiB of memory to talk to the server")
        if self._disk:
            self._disk.look()
        self._next = time.monotonic() + _LOOK_SECONDS


class _Disk:
    """What lies in a folder, and what is left of its file system."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._begin = os.statvfs(bounds.folder)
        self._room = Room.of(bounds.folder)
        self._measure_at = 0.0

    def look(self) -> None:
        """Raises ``LimitPassed``. What others write to the file system counts as what is left of it."""
        limits, now = self._bounds.limits, os.statvfs(self._bounds.folder)
        used = (self._begin.f_bfree - now.f_bfree) * now.f_frsize
        files = self._begin.f_ffree - now.f_ffree
        if used > self._room.bytes or (now.f_files and files > self._room.files):
            raise DiskFull("nearly all that is left of the file system")
        if time.monotonic() < self._measure_at:
            return
        # A folder is measured only where so much was written, by anybody, that it can hold too much.
        if now.f_files and 2 * used < limits.bytes and 2 * files < limits.files:
            return
        begun = time.monotonic()
        check_folder(self._bounds.folder, limits)
        took = time.monotonic() - begun
        self._measure_at = time.monotonic() + _SHARE_OF_MEASURING * took


@dataclass(frozen=True)
class Room:
    """What may still be written to a file system: bytes, and files (folders and links count too)."""

    bytes: int
    files: int

    @classmethod
    def of(cls, folder: str) -> Room:
        """What is left of the file system of ``folder`` but for a reserve."""
        state = os.statvfs(folder)
        left = state.f_bavail * state.f_frsize
        files = state.f_favail - min(state.f_favail // _RESERVED_SHARE, _RESERVED_FILES)
        return cls(
            left - min(left // _RESERVED_SHARE, _RESERVED_BYTES),
            files if state.f_files else 1 << 62,  # as many as one likes
        )


def check_folder(folder: str, limits: SourceLimits) -> None:
    """Raise ``LimitPassed`` where ``folder`` holds too much; what disappears meanwhile is passed over."""
    size = files = 0
    waiting = [folder]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                files += 1
                if size > limits.bytes:
                    raise LimitPassed(f"more than {limits.bytes >> 20} MiB of disk")
                if files > limits.files:
                    raise LimitPassed(f"more than {limits.files} files and folders")


def _session(leader: int) -> list[int]:
    """The processes of the session that ``leader`` began."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, IndexError, ValueError), open(f"/proc/{name}/stat", "rb") as file:
                # After the name, which may hold anything: state, parent, group, session (see proc(5)).
                if int(file.read().rpartition(b")")[2].split()[3]) == leader:
                    found.append(int(name))
    return found


def _name(pid: int) -> bytes:
    """The name of the program that ``pid`` runs, the first 15 bytes of it (see proc(5))."""
    with suppress(OSError), open(f"/proc/{pid}/comm", "rb") as file:
        return file.read()
    return b""


def _memory(pid: int) -> int:
    """Bytes of memory that ``pid`` alone has: what it maps of files, such as packs, does not count."""
    with suppress(OSError, IndexError, ValueError), open(f"/proc/{pid}/statm", "rb") as file:
        fields = file.read().split()
        return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGESIZE")
    return 0
