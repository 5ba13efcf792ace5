# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Standard output, whose failures are told from those of files that a command works with."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputError(OSError):
    """Standard output takes nothing more; ``errno`` is ``EPIPE`` where its reader went away."""


class _Output(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            # Else the interpreter tries again when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            raise OutputError(error.errno, error.strerror) from None


def mark_failures() -> None:
    """Let what fails to be written to standard output raise ``OutputError``; all after it goes nowhere."""
    plain = sys.stdout
    if not isinstance(plain, io.TextIOWrapper):
        return  # There is none where the program was started without.
    marked = io.BufferedWriter(_Output(plain.fileno(), "wb", closefd=False))
    sys.stdout = io.TextIOWrapper(
        marked, encoding=plain.encoding, errors=plain.errors, line_buffering=plain.line_buffering
    )
