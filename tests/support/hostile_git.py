# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A git server that means no good: it speaks protocol 2 over HTTP by hand, and says what it likes.

Source of what it says: gitprotocol-v2(5), gitprotocol-pack(5), gitformat-pack(5).
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.background_server import in_background

FLUSH = b"0000"
_COMMIT, _TREE, _BLOB, _REF_DELTA = 1, 2, 3, 7


def line(content: bytes) -> bytes:
    """``content`` as a packet."""
    return b"%04x" % (len(content) + 4) + content


def references(names: Iterable[str], commit: str = "1" * 40) -> bytes:
    """The answer that lists ``names``, all at ``commit``."""
    return b"".join(line(f"{commit} {name}\n".encode()) for name in names)


def pack_of(pack: bytes) -> bytes:
    """The answer that sends ``pack``."""
    pieces = (pack[start : start + 60_000] for start in range(0, len(pack), 60_000))
    return line(b"packfile\n") + b"".join(line(b"\1" + piece) for piece in pieces) + FLUSH


def swelling_pack(levels: int) -> bytes:
    """A pack of some kilobytes whose objects grow 64 times at each of ``levels``."""
    blob = bytes(1 << 16)
    objects = [_object(_BLOB, blob)]
    base, size = hashlib.sha1(b"blob %d\0" % len(blob) + blob).digest(), len(blob)
    for _ in range(levels):
        copied = min(size, 0xFFFFFF)
        delta = _number(size) + _number(64 * copied) + 64 * (b"\xf0" + copied.to_bytes(3, "little"))
        objects.append(_head(_REF_DELTA, len(delta)) + base + zlib.compress(delta))
        size = 64 * copied
        digest = hashlib.sha1(b"blob %d\0" % size)
        for _ in range(size >> 16):
            digest.update(blob)
        base = digest.digest()
    body = b"PACK" + (2).to_bytes(4, "big") + len(objects).to_bytes(4, "big") + b"".join(objects)
    return body + hashlib.sha1(body).digest()


def _object(kind: int, content: bytes) -> bytes:
    return _head(kind, len(content)) + zlib.compress(content)


def _head(kind: int, size: int) -> bytes:
    first, rest = kind << 4 | size & 15, size >> 4
    return bytes([first | 128]) + _number(rest) if rest else bytes([first])


def _number(value: int) -> bytes:
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])


@dataclass
class HostileGitServer:
    """A running one: ``listing`` and ``fetched`` are the pieces of what it answers to the two requests.

    ``offered`` takes the place of what it says at first, which is that it speaks protocol 2. ``sent`` is how
    many bytes went out; ``echo`` has it refuse with the login that it was given.
    """

    url: str
    offered: Iterable[bytes] = ()
    listing: Iterable[bytes] = ()
    fetched: Iterable[bytes] = ()
    sent: int = 0
    echo: bool = False


@contextmanager
def hostile_git_server() -> Iterator[HostileGitServer]:
    """Every repository of it is the same."""

    class Handler(_Handler):
        site: HostileGitServer

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Handler.site = HostileGitServer(f"http://127.0.0.1:{server.server_port}")
    with in_background(server):
        yield Handler.site


class _Handler(BaseHTTPRequestHandler):
    site: HostileGitServer

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing is printed."""

    def do_GET(self) -> None:
        given = self.headers.get("Authorization", "")
        if self.site.echo and not given:
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.end_headers()
            return
        offered = line(b"version 2\n") + line(b"ls-refs\n") + line(b"fetch=shallow filter\n") + FLUSH
        refused = line(f"ERR {given} is not let in\n".encode())
        service = line(b"# service=git-upload-pack\n") + FLUSH
        pieces = self.site.offered or [refused if self.site.echo else service + offered]
        self._answer("advertisement", pieces)

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer("result", self.site.listing if b"command=ls-refs" in asked else self.site.fetched)

    def _answer(self, what: str, pieces: Iterable[bytes]) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", f"application/x-git-upload-pack-{what}")
        self.end_headers()
        try:
            for piece in pieces:
                self.wfile.write(piece)
                self.site.sent += len(piece)
        except OSError:
            pass  # they have had enough
