# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Watching for secrets where they must not be, and for what a build leaves behind."""

from __future__ import annotations

import base64
import ctypes
import os
import secrets
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

_SAMPLE_SECONDS = 0.02
_CHUNK = 1 << 20
_PR_SET_CHILD_SUBREAPER = 36
# The places of a home folder where programs keep credentials, caches and temporary files.
_HOME = (".docker", ".ansible", ".cache", ".config", ".opera", ".ssh", ".gnupg", ".local/share")


def new_secret() -> str:
    """A password nobody else has, with every character that a careless program trips over."""
    return f"{secrets.token_hex(12)}:/@%41 &'\"$HOME#{{{{ 7*7 }}}}\\"


def traces(secret: str) -> list[bytes]:
    """The byte strings whose presence gives ``secret`` away: its start as text and in Base64.

    The first characters are those that no quoting changes, so they are found in URLs and JSON too;
    Base64 is searched for at each of the three places where the secret can begin in a longer text.
    """
    start = secret.split(":")[0].encode()
    found = [start]
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + start)
        found.append(encoded[(0, 2, 3)[shift] : len(encoded) // 4 * 4 - 4])
    return found


@dataclass
class Watch:
    """What is watched for: ``secrets``, in ``folders`` and the machine's own places, since ``since``.

    ``own`` are the files in which the test itself wrote secrets, or folders of such files.
    """

    secrets: list[str]
    folders: list[Path]
    own: list[Path]
    since: float = field(default_factory=time.time)
    arguments: set[bytes] = field(default_factory=set)

    def assert_no_leak(self) -> None:
        """Assert that no secret is in a process's arguments or in a file, output and results included."""
        marks = [mark for secret in self.secrets for mark in traces(secret)]
        if not marks:
            return
        shown = [line for line in self.arguments if _holds(line, marks)]
        assert not shown, f"a secret was in the arguments of a process: {shown}"
        own = {path.resolve() for path in self.own}
        files = [
            path
            for path in self._files()
            if not own.intersection((path.resolve(), *path.resolve().parents)) and _file_holds(path, marks)
        ]
        assert not files, f"a secret was left in {files}"

    def _files(self) -> set[Path]:
        """The files that changed since the beginning, where programs may put what they should not."""
        home = Path.home()
        places = [
            *(*self.folders, Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")),
            *(home / name for name in _HOME),
            *(path for path in home.glob(".*") if path.is_file()),
        ]
        argv = ["find", *(str(path) for path in places if path.exists())]
        argv += ["-xdev", "-type", "f", "-newerct", f"@{self.since}", "-print0"]
        found = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        return {Path(os.fsdecode(name)) for name in found.stdout.split(b"\0") if name}


def assert_nothing_left(tmp: Path) -> None:
    """Assert that no process is left, nor anything in the temporary folder ``tmp``.

    What a killed opera leaves of its own, its copy of the playbook with its inputs, does not count.
    """
    running = _until_gone()
    assert not running, f"processes are still running: {running}"
    of_opera = {path.parent for path in tmp.glob("tmp*/ansible.cfg")}
    left = [path for path in sorted(tmp.rglob("*")) if not of_opera.intersection((path, *path.parents))]
    assert not left, f"left in the temporary folder: {left}"


@contextmanager
def watched(folder: Path) -> Iterator[Watch]:
    """Watch for secrets in ``folder`` and in the arguments of all processes, until the end of the block.

    Orphans of the processes started meanwhile become children of this process, so that none is missed.
    """
    watch = Watch([], [folder], [])
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    finished = threading.Event()

    def sample() -> None:
        kernel = {entry for entry in os.listdir("/proc") if entry.isdigit() and not _arguments(entry)}
        while not finished.wait(_SAMPLE_SECONDS):
            for entry in os.listdir("/proc"):
                if entry.isdigit() and entry not in kernel:
                    watch.arguments.add(_arguments(entry))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield watch
    finally:
        finished.set()
        sampler.join()


def _arguments(pid: str) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def _command(pid: int) -> str:
    return _arguments(str(pid)).replace(b"\0", b" ").decode(errors="replace")


def descendants(pid: Optional[int] = None) -> dict[int, str]:
    """The living processes below ``pid`` (this process), orphans included, with their arguments."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                status = Path("/proc", entry, "stat").read_text(errors="replace")
            except OSError:
                continue
            state, parent = status.rpartition(")")[2].split()[:2]
            if state not in "ZX":
                parents.setdefault(int(parent), []).append(int(entry))
    found: dict[int, str] = {}
    waiting = [pid or os.getpid()]
    while waiting:
        for child in parents.get(waiting.pop(), []):
            found[child] = _command(child)
            waiting.append(child)
    return found


def running(mark: str) -> dict[int, str]:
    """The processes of this machine, in a container or not, with ``mark`` in their arguments, and these."""
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    commands = {pid: _command(pid) for pid in pids}
    return {pid: command for pid, command in commands.items() if mark in command}


def is_running(mark: str) -> bool:
    """Whether a process of this machine, in a container or not, has ``mark`` in its arguments."""
    return bool(running(mark))


def wait_until_gone(mark: str, seconds: float = 20) -> None:
    """Wait until no process has ``mark`` in its arguments; it is an error when one stays."""
    deadline = time.monotonic() + seconds
    while is_running(mark):
        assert time.monotonic() < deadline, f"a process with {mark} in its arguments still runs"
        time.sleep(0.1)


#: Processes that belong to the test run itself: servers that fixtures started.
_known: set[int] = set()


def remember_processes() -> None:
    """Take the processes that run now for those of fixtures."""
    _known.update(descendants())


def _until_gone(seconds: float = 5) -> dict[int, str]:
    deadline = time.monotonic() + seconds
    while True:
        left = {pid: what for pid, what in descendants().items() if pid not in _known}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def _holds(data: bytes, marks: list[bytes]) -> bool:
    return any(mark in data for mark in marks)


def _file_holds(path: Path, marks: list[bytes]) -> bool:
    overlap = max(map(len, marks))
    tail = b""
    try:
        with path.open("rb") as file:
            while block := file.read(_CHUNK):
                if _holds(tail + block, marks):
                    return True
                tail = block[-overlap:]
    except OSError:  # gone meanwhile
        pass
    return False
