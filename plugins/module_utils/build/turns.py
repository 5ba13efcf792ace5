# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One build of a tag after the other, as far as one user's builds on one machine go.

An engine pushes from its own store by tag, so that of two builds of one tag at once each can push, and
report, what the other one built; and newer ones find that the tag holds something else than was just pushed.
Who had to wait plans again: the image may stand in the registry by now.

The locks are of single bytes of one file in the user's cache folder, one for each reference. They belong
to the open file, so threads of one process exclude each other too, and the kernel drops them when a process
ends, however it ends. Source: fcntl(2), "Open file description locks".
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import Iterable
from contextlib import suppress
from typing import Callable, Optional

from ..listener import Listener
from ..oci.reference import Reference
from ..process import pause
from ..sources.memory import cache_folder

_LOOK_SECONDS = 0.2
_OFD_SETLK: Optional[int] = getattr(fcntl, "F_OFD_SETLK", None)


class Turns:
    """The turns of one request, as a context manager; they end with the block.

    Where there is no folder to lock in, or its file system has no such locks, nobody waits.
    """

    def __init__(self, wait: Callable[[float], object] = pause) -> None:
        self._wait = wait
        self._taken = False
        self._file: Optional[int] = None
        folder = cache_folder()
        if folder is not None and _OFD_SETLK is not None:
            with suppress(OSError):
                os.makedirs(folder, mode=0o700, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                self._file = os.open(os.path.join(folder, "turns"), flags, 0o600)
        self._ended = self._last_end()

    def __enter__(self) -> Turns:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._file is not None:
            if self._taken:
                with suppress(OSError):
                    os.utime(self._file)
            os.close(self._file)
            self._file = None

    def take(self, references: Iterable[Reference], listener: Listener) -> bool:
        """Wait until no other build of one of ``references`` is going on.

        ``listener`` is told of waiting. Returns whether some build has ended since this object was made, so
        that a plan of that time may be out of date.
        """
        if self._file is None:
            return False
        # In one order for everybody, so that no two wait for each other.
        for place, reference in sorted({(_place(reference), str(reference)) for reference in references}):
            told = False
            while not self._lock(place):
                if not told:
                    listener.line(f"waiting for another build of {reference} on this machine to end")
                told = True
                self._wait(_LOOK_SECONDS)
        self._taken = True
        return self._last_end() != self._ended

    def _lock(self, place: int) -> bool:
        assert self._file is not None
        assert _OFD_SETLK is not None
        request = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
        try:
            fcntl.fcntl(self._file, _OFD_SETLK, request)
        except OSError as error:
            return error.errno not in (errno.EAGAIN, errno.EACCES)
        return True

    def _last_end(self) -> int:
        return 0 if self._file is None else os.fstat(self._file).st_mtime_ns


def _place(reference: Reference) -> int:
    """The byte that stands for a reference; that two have the same one costs time only."""
    return int.from_bytes(hashlib.sha256(str(reference).encode()).digest()[:7], "big")
