# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Running the machine's own programs, each with a limit."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from typing import Optional

from ..errors import MachineError
from ..process import Result, run

#: Seconds for programs that only look something up or change a little.
SHORT = 120.0

_LAST_CHARACTERS = 2000


def call(
    argv: Sequence[str],
    *,
    seconds: float = SHORT,
    env: Optional[Mapping[str, str]] = None,
    cwd: Optional[str] = None,
) -> Result:
    """Run ``argv`` for at most ``seconds`` and give its result, whatever its status.

    Raises ``MachineError`` with code ``program_missing`` or ``program_timeout``.
    """
    try:
        return run(argv, env=env, cwd=cwd, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise MachineError(
            "program_timeout",
            f"{argv[0]} did not end within {seconds:g} seconds.",
            hint=f"Run it by hand to see what it waits for: {' '.join(argv)}",
            retryable=True,
        ) from None
    except FileNotFoundError:
        raise MachineError(
            "program_missing", f"{argv[0]} is not on this machine.", hint="Install it, or correct its path."
        ) from None


def output(
    argv: Sequence[str],
    *,
    seconds: float = SHORT,
    env: Optional[Mapping[str, str]] = None,
    cwd: Optional[str] = None,
) -> str:
    """Run ``argv`` as ``call`` does and give its standard output.

    Raises ``MachineError``, with code ``program_failed`` where the program ends with another status than 0.
    """
    done = call(argv, seconds=seconds, env=env, cwd=cwd)
    if done.status != 0:
        raise MachineError(
            "program_failed",
            f"{argv[0]} failed: {last_words(done)}",
            hint=f"Run it by hand to find out more: {' '.join(argv)}",
        )
    return done.stdout


def last_words(done: Result) -> str:
    """How the output of a program that failed ends, its errors if it has any, as a sentence for people."""
    said = (done.stderr.strip() or done.stdout.strip())[-_LAST_CHARACTERS:]
    said = said or f"it ended with status {done.status}"
    return said if said.endswith((".", "!", "?")) else said + "."
