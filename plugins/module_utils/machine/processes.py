# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Finding and ending the processes, mounts and control groups of one private program.

A program is known by the folder its executables lie in, not by a name or a recorded
number: both can be another's by the time they are used.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

from . import commands

_CGROUPS = Path("/sys/fs/cgroup")


def _executable(pid: int) -> Optional[str]:
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return None


def _lies_in(pid: int, prefix: str) -> bool:
    path = _executable(pid)
    if path is None:
        return False
    deleted = path.endswith(" (deleted)")
    path = path[: -len(" (deleted)")] if deleted else path
    if path != prefix and not path.startswith(prefix.rstrip("/") + "/"):
        return False
    if deleted:
        return True
    try:
        # A container can have a program of the same path; that one is another file.
        return os.path.samefile(f"/proc/{pid}/exe", path)
    except OSError:
        return False


def processes(prefix: str) -> list[int]:
    """Every process whose executable lies below ``prefix``, or is that very file."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return sorted(pid for pid in pids if pid != os.getpid() and _lies_in(pid, prefix))


def command_line(pid: int) -> list[str]:
    """The program and arguments of a process, none where it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def wait_until(condition: Callable[[], bool], seconds: float, pause: float = 0.05) -> bool:
    """Wait for ``condition``, for at most ``seconds``. Returns whether it came."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True


def end_processes(find: Callable[[], Sequence[int]], patience: float) -> None:
    """Ask all that ``find`` returns to end, and force those that have not after ``patience`` seconds."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        pids = find()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        if not pids or wait_until(lambda: not find(), seconds):
            return


def _cgroup_folders(name: str) -> list[Path]:
    """The control group in the one tree of version 2, and in each tree of version 1."""
    roots = [_CGROUPS / name, *(tree / name for tree in _CGROUPS.glob("*") if tree.is_dir())]
    return [root for root in roots if (root / "cgroup.procs").exists()]


def _members(name: str) -> list[int]:
    found: set[int] = set()
    for folder in _cgroup_folders(name):
        for path in folder.rglob("cgroup.procs"):
            try:
                found.update(int(line) for line in path.read_text().split())
            except OSError:
                continue
    return sorted(found)


def remove_cgroup(name: str) -> None:
    """End what runs in the control group ``name`` and remove it: containers outlive a killed daemon."""
    end_processes(lambda: _members(name), patience=1.0)
    for root in _cgroup_folders(name):
        for folder in sorted((p for p in [root, *root.rglob("*")] if p.is_dir()), reverse=True):
            try:
                folder.rmdir()
            except OSError:
                continue


def unmount_below(folders: Sequence[str]) -> None:
    """Detach every mount below ``folders``, the innermost first. Raises ``MachineError``."""
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split(" ")[4].encode().decode("unicode_escape")
        if any(point == folder or point.startswith(folder.rstrip("/") + "/") for folder in folders):
            points.append(point)
    for point in reversed(points):
        commands.call(["umount", "--lazy", point])


def start_detached(command: Sequence[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start ``command`` so that it outlives this process, its terminal and its session."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            list(command),
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
        )
