# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What programs print, kept and read within limits, since it has no end of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import IO

#: The most bytes that are kept of a program's messages: as many of their beginning as of their end.
MOST_KEPT = 512 * 1024
#: The most bytes of a line; the rest of a longer one is passed over.
MOST_IN_LINE = 8 * 1024 * 1024

_CHUNK = 64 * 1024


class Kept:
    """The beginning and the end of what is added, each of at most half of ``most`` bytes."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._half = most // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._left_out = 0

    def add(self, data: bytes) -> None:
        """Keep ``data``, or what there is room for."""
        room = self._half - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if len(data) > self._half:
            self._left_out += len(data) - self._half
            data = data[-self._half :]
        if not data:
            return
        self._tail.append(data)
        self._tail_size += len(data)
        while self._tail_size > self._half:
            first = self._tail.popleft()
            surplus = self._tail_size - self._half
            if surplus < len(first):
                self._tail.appendleft(first[surplus:])
            gone = min(surplus, len(first))
            self._tail_size -= gone
            self._left_out += gone

    def text(self) -> str:
        """All that is kept, with a line that says so where something was left out."""
        gap = f"\n[{self._left_out} bytes are left out here]\n".encode() if self._left_out else b""
        return b"".join((bytes(self._head), gap, *self._tail)).decode("utf-8", "replace")


def lines(stream: IO[bytes], kept: Kept, most: int = MOST_IN_LINE) -> Iterator[str]:
    """The lines of ``stream`` as they come, without their ends; ``kept`` gets every byte."""
    begun = bytearray()
    for chunk in chunks(stream):
        kept.add(chunk)
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            begun += part[: most - len(begun)]
            yield begun.decode("utf-8", "replace")
            begun.clear()
        begun += rest[: most - len(begun)]
    if begun:
        yield begun.decode("utf-8", "replace")


def chunks(stream: IO[bytes]) -> Iterator[bytes]:
    """What can be read of ``stream``, as soon as there is some."""
    with stream:
        while chunk := stream.read1(_CHUNK):  # type: ignore[attr-defined]
            yield chunk
