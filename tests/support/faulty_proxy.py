# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A proxy before a real registry that does to chosen requests what networks and busy registries do."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import select
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Optional

from tests.support.background_server import in_background
from tests.support.registry import Registry

_TLS_HANDSHAKE = b"\x16"
_POLL_SECONDS = 0.1
# What concerns one connection only (RFC 9110, 7.6.1), or is made anew for the other one.
_OWN_HEADERS = frozenset(("connection", "keep-alive", "transfer-encoding", "content-length"))


#: What happens to a request.
Befall = Callable[["Exchange"], None]


@dataclass(eq=False)
class _Fault:
    """What befalls requests; ``times`` is how often still, ``None`` for as long as it stands."""

    pattern: re.Pattern[str]
    befall: Befall
    times: Optional[int]


@dataclass
class FaultyProxy:
    """A running proxy at ``address`` (``host:port``) to ``behind``.

    ``seen`` are the requests so far, each as ``METHOD path user-agent``. That is what patterns are
    searched in: the product's own requests have the agent ``image-builder``, BuildKit's another.
    ``abandoned`` counts the requests left hanging whose senders gave up.
    """

    address: str
    behind: Registry
    seen: list[str] = field(default_factory=list)
    abandoned: int = 0
    _faults: list[_Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _over: threading.Event = field(default_factory=threading.Event)

    def fault(self, pattern: str, befall: Befall, times: Optional[int] = None) -> None:
        """Let ``befall`` happen to the next ``times`` requests, or to all, that ``pattern`` is found in."""
        self._faults.append(_Fault(re.compile(pattern), befall, times))

    def heal(self) -> None:
        """Take all faults away, and forget the requests seen."""
        with self._lock:
            self._faults.clear()
            self.seen.clear()

    def count(self, pattern: str) -> int:
        """How many of the requests so far have ``pattern``."""
        return sum(1 for request in list(self.seen) if re.search(pattern, request))

    def _befalling(self, request: str) -> Befall:
        """What is to happen to a request, which is noted."""
        with self._lock:
            self.seen.append(request)
            for fault in self._faults:
                if fault.times != 0 and fault.pattern.search(request):
                    if fault.times is not None:
                        fault.times -= 1
                    return fault.befall
        return forward


def answer(status: int, **headers: str) -> Befall:
    """Answer with ``status``; ``_`` in a header's name stands for a hyphen."""

    def befall(exchange: Exchange) -> None:
        exchange.read_body()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        exchange.reply(status, named, b"")

    return befall


def lack_blobs(number: int) -> Befall:
    """Answer as a registry that lacks ``number`` blobs of a manifest, in the words of distribution."""
    unknown = {"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown to registry"}
    errors = [{**unknown, "detail": f"sha256:{n:064}"} for n in range(number)]

    def befall(exchange: Exchange) -> None:
        exchange.read_body()
        exchange.reply(400, {"Content-Type": "application/json"}, json.dumps({"errors": errors}).encode())

    return befall


def forward(exchange: Exchange) -> None:
    """Do what was asked, by the registry behind."""
    exchange.reply(*exchange.ask(exchange.read_body()))


def reset(exchange: Exchange) -> None:
    """Reset the connection in the middle: of what is uploaded, else of the answer."""
    length = exchange.length
    if length > 1:
        exchange.rfile.read(length // 2)
    else:
        status, headers, body = exchange.ask(exchange.read_body())
        exchange.reply(status, headers, body, len(body) // 2)
    # With no time to linger, closing sends RST in place of FIN. The file objects do not hold it back.
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(exchange.connection.detach())
    exchange.close_connection = True


def hang(exchange: Exchange) -> None:
    """Take the request and never answer it."""
    exchange.read_body()
    exchange.close_connection = True
    while not exchange.proxy._over.is_set():
        ready, _, _ = select.select([exchange.connection], [], [], _POLL_SECONDS)
        if ready:
            with suppress(ConnectionError):
                if exchange.connection.recv(1):
                    continue
            exchange.proxy.abandoned += 1
            return


def swallow(exchange: Exchange) -> None:
    """Say that a manifest is stored, and store nothing."""
    digest = f"sha256:{hashlib.sha256(exchange.read_body()).hexdigest()}"
    exchange.reply(201, {"Location": exchange.path, "Docker-Content-Digest": digest}, b"")


def lose(exchange: Exchange) -> None:
    """Store a manifest, say so, and lose it."""
    status, headers, body = exchange.ask(exchange.read_body())
    if status == 201:
        exchange.remove(headers["Docker-Content-Digest"])
    exchange.reply(status, headers, body)


def move_on(exchange: Exchange) -> None:
    """Store an index, and under its tag another one, with one image less, before it says so."""
    body = exchange.read_body()
    status, headers, answer = exchange.ask(body)
    index = json.loads(body)
    theirs = json.dumps({**index, "manifests": index["manifests"][1:]}).encode()
    assert exchange.ask(theirs)[0] == 201
    exchange.reply(status, headers, answer)


def lose_platform(exchange: Exchange) -> None:
    """Store an index, say so, and lose the first manifest that it lists."""
    index = exchange.read_body()
    status, headers, body = exchange.ask(index)
    for entry in json.loads(index).get("manifests", ())[:1]:
        exchange.remove(entry["digest"])
    exchange.reply(status, headers, body)


@contextmanager
def faulty_proxy(behind: Registry) -> Iterator[FaultyProxy]:
    """Run a proxy to ``behind``, which speaks plain HTTP, on a free port of 127.0.0.1."""

    class Handler(Exchange):
        proxy: FaultyProxy

    server = _Server(("127.0.0.1", 0), Handler)
    Handler.proxy = FaultyProxy(f"127.0.0.1:{server.server_port}", behind)
    with in_background(server):
        try:
            yield Handler.proxy
        finally:
            Handler.proxy._over.set()


class _Server(ThreadingHTTPServer):
    # BuildKit opens many connections at once: one that the kernel drops would look like a fault.
    request_queue_size = 128


class Exchange(BaseHTTPRequestHandler):
    """One request and what comes of it."""

    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def log_message(self, format: str, *arguments: object) -> None:
        """Requests are recorded, not printed."""

    def handle(self) -> None:
        # BuildKit tries TLS first and goes over to plain HTTP where it is answered in that.
        if self.connection.recv(1, socket.MSG_PEEK) == _TLS_HANDSHAKE:
            self.connection.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")
        else:
            super().handle()

    def handle_any(self) -> None:
        agent = self.headers.get("User-Agent", "")
        befall = self.proxy._befalling(f"{self.command} {self.path} {agent}")
        try:
            befall(self)
        except ConnectionError:  # the other side gave up
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    @property
    def length(self) -> int:
        """The size of what the request carries."""
        return int(self.headers.get("Content-Length") or 0)

    def read_body(self) -> bytes:
        """What the request carries."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(self.length)
        content = bytearray()
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            content += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(content)

    def ask(self, body: bytes, method: str = "", path: str = "") -> tuple[int, dict[str, str], bytes]:
        """The registry's answer to this request, or to another one: status, headers, body."""
        # It makes the addresses in its answers of Host, and so they lead through this proxy again.
        behind = http.client.HTTPConnection(self.proxy.behind.address, timeout=60)
        with closing(behind):
            behind.putrequest(
                method or self.command, path or self.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in self.headers.items():
                if name.lower() not in _OWN_HEADERS:
                    behind.putheader(name, value)
            behind.putheader("Content-Length", str(len(body)))
            behind.endheaders(body)
            given = behind.getresponse()
            kept = {
                name: value
                for name, value in given.getheaders()
                if name.lower() not in _OWN_HEADERS or name.lower() == "content-length"
            }
            return given.status, kept, given.read()

    def remove(self, digest: str) -> None:
        """Take a manifest out of the registry."""
        assert self.ask(b"", "DELETE", f"{self.path.rpartition('/')[0]}/{digest}")[0] == 202

    def reply(self, status: int, headers: dict[str, str], body: bytes, sent: Optional[int] = None) -> None:
        """Answer; ``sent`` is how many bytes of ``body`` go out, if not all."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if "Content-Length" not in headers and status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])
