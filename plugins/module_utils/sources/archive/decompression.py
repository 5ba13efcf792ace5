# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Compressed streams, read as they come: gzip, bzip2, xz and zstd, told apart by their first bytes.

Sources: RFC 1952 (gzip), the bzip2 and xz file formats, RFC 8878 (zstd).
"""

from __future__ import annotations

import bz2
import lzma
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Callable, Optional, Protocol

from ...errors import SourceError
from ...process import Filter, filtered

#: How much memory decompressing a file may take, in bytes; xz -9 asks for 65 MiB.
MOST_MEMORY = 128 << 20
_CHUNK = 64 << 10
_LONGEST_MAGIC = 6
_GZIP, _BZIP2, _XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes((n,)) + b"\x2a\x4d\x18" for n in range(0x50, 0x60)))


class Readable(Protocol):
    """What bytes are read from, in order; nothing more means the end."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes."""
        ...


class _Gzip:
    """zlib with the manners of Python's other decompressors."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    def decompress(self, data: bytes, most: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, most)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


class _Started:
    """A stream of which some bytes were read already."""

    def __init__(self, start: bytes, rest: Readable) -> None:
        self._start = start
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        if self._start:
            given, self._start = self._start[:size], self._start[size:]
            return given
        return self._rest.read(size)


class _Decompressed:
    """The content of a compressed stream; several compressed one after another are one."""

    def __init__(self, stream: Readable, magic: bytes, make: Callable[[], Any]) -> None:
        self._stream = stream
        self._magic = magic
        self._make = make
        self._inner: Optional[Any] = make()

    def read(self, size: int, /) -> bytes:
        while self._inner is not None:
            data = b""
            if self._inner.needs_input:
                data = self._stream.read(_CHUNK)
                if not data:
                    raise damaged("it breaks off")
            try:
                content: bytes = self._inner.decompress(data, size)
            except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError) as error:
                raise damaged(str(error)) from None
            if self._inner.eof:
                self._next(self._inner.unused_data)
            if content:
                return content
        return b""

    def _next(self, rest: bytes) -> None:
        """Go on with what was appended; anything else behind the end is padding."""
        while len(rest) < len(self._magic) and (more := self._stream.read(_CHUNK)):
            rest += more
        self._inner = None
        if rest.startswith(self._magic):
            self._stream = _Started(rest, self._stream)
            self._inner = self._make()


@contextmanager
def decompressed(stream: Readable) -> Iterator[Readable]:
    """The content of ``stream``, or ``stream`` itself where it is not compressed.

    Raises ``SourceError``: ``archive_invalid`` for damaged content (also while it is read),
    ``zstd_missing``.
    """
    start = b""
    while len(start) < _LONGEST_MAGIC and (more := stream.read(_LONGEST_MAGIC - len(start))):
        start += more
    whole = _Started(start, stream)
    if start.startswith(_GZIP):
        yield _Decompressed(whole, _GZIP, _Gzip)
    elif start.startswith(_BZIP2):
        yield _Decompressed(whole, _BZIP2, bz2.BZ2Decompressor)
    elif start.startswith(_XZ):
        yield _Decompressed(whole, _XZ, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_MEMORY))
    elif start.startswith(_ZSTD):
        with _zstd(whole) as content:
            yield content
    elif start.startswith(_ZIP):
        raise SourceError(
            "archive_invalid",
            "The archive is a zip archive, and a tar archive is wanted.",
            hint="Unpack it and pack it anew with: tar --create --gzip --file X.tar.gz --directory FOLDER .",
        )
    else:
        yield whole


@contextmanager
def _zstd(stream: Readable) -> Iterator[Readable]:
    program = shutil.which("zstd")
    if program is None:
        raise SourceError(
            "zstd_missing",
            "The archive is compressed with zstd, and there is no program zstd here.",
            hint="Install zstd on the machine that builds, or compress the archive with gzip.",
        )
    argv = [program, "--decompress", "--stdout", "--quiet", f"--memory={MOST_MEMORY}"]
    with filtered(argv, lambda: stream.read(_CHUNK)) as running:
        yield _ZstdOutput(running)


class _ZstdOutput:
    def __init__(self, running: Filter) -> None:
        self._running = running

    def read(self, size: int, /) -> bytes:
        content = self._running.read(size)
        if not content and self._running.status():
            raise damaged("zstd cannot read it")
        return content


def damaged(why: str) -> SourceError:
    """The error for an archive that cannot be read."""
    return SourceError(
        "archive_invalid",
        f"The archive is damaged or not a tar archive: {why}.",
        hint="Give a tar archive, plain or compressed by gzip, bzip2, xz or zstd.",
    )
