# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What Ctrl-C does to a program, without a terminal: an exception in the main thread, wherever that waits."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Optional


@contextmanager
def interrupting(error: type[BaseException], when: threading.Barrier) -> Iterator[threading.Event]:
    """Raise ``error`` in the main thread once ``when`` is full, to which one party more comes from here.

    What it gives is set when the block is left: what threads that outlive the interrupt may wait for.
    """

    def interrupted(number: int, frame: Optional[FrameType]) -> None:
        raise error

    def interrupt() -> None:
        when.wait(20)
        os.kill(os.getpid(), signal.SIGUSR1)

    released = threading.Event()
    before = signal.signal(signal.SIGUSR1, interrupted)
    try:
        threading.Thread(target=interrupt, daemon=True).start()
        yield released
    finally:
        released.set()
        signal.signal(signal.SIGUSR1, before)
