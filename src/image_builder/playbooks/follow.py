# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Running a program while a person watches a file that grows."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.sodalite.image_builder.plugins.module_utils.process import (
    Child,
    undisturbed,
)

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 30.0


@dataclass(frozen=True)
class Program:
    """A program to run: its arguments, the whole environment, and its working folder."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path


def run(
    program: Program,
    *,
    log: Path,
    followed: Path,
    show: Callable[[str], None],
    idle: Callable[[], None] = lambda: None,
) -> int:
    """Run ``program``, its output going to ``log``, and give ``show`` each line that appears in ``followed``.

    ``idle`` is called when some time has passed without a line.
    Returns the exit status. Whatever ends this call, such as ``Cancelled``, the program and
    all that it started in its process group have ended by then; so they do where this process is killed.
    """
    followed.touch()
    with log.open("wb") as output, followed.open(encoding="utf-8", errors="replace") as lines:
        child: Child | None = None
        try:
            with undisturbed():
                child = Child(
                    program.argv,
                    env=dict(program.env),
                    cwd=program.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            begun = ""
            while True:
                ended = child.program.poll() is not None
                begun += lines.read()
                *whole, begun = begun.split("\n")
                for line in whole:
                    show(line)
                if ended:
                    return child.program.returncode
                if not whole:
                    idle()
                time.sleep(_POLL_SECONDS)
        finally:
            if child is not None:
                try:
                    _end_group(child.program)
                finally:
                    child.end()


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End the group in order: first a request that lets its members clean up, then force."""
    for number, patience in ((signal.SIGTERM, _GRACE_SECONDS), (signal.SIGKILL, 1.0)):
        deadline = time.monotonic() + patience
        try:
            os.killpg(child.pid, number)
            while time.monotonic() < deadline:
                child.poll()
                os.killpg(child.pid, 0)
                time.sleep(_POLL_SECONDS)
        except ProcessLookupError:
            return
