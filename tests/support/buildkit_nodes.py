# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Nodes of buildx builders: an engine's own BuildKit on a port of its own, and ones that are away."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit

from tests.support.background_server import in_background

_UPGRADE = b"POST /grpc HTTP/1.1\r\nHost: engine\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


@contextmanager
def buildkit_node(docker_host: str) -> Iterator[str]:
    """The address of the BuildKit in the engine at the socket ``docker_host``, for the driver "remote".

    An engine gives its BuildKit to whoever upgrades a request to ``/grpc``.
    """

    class Through(BaseRequestHandler):
        def handle(self) -> None:
            with socket.socket(socket.AF_UNIX) as engine:
                engine.connect(urlsplit(docker_host).path)
                engine.sendall(_UPGRADE)
                answer = b""
                while not answer.endswith(b"\r\n\r\n"):
                    answer += engine.recv(1)
                assert answer.startswith(b"HTTP/1.1 101 "), answer
                back = threading.Thread(target=_pump, args=(engine, self.request), daemon=True)
                back.start()
                _pump(self.request, engine)
                back.join()

    with ThreadingTCPServer(("127.0.0.1", 0), Through) as server, in_background(server):
        yield f"tcp://127.0.0.1:{server.server_address[1]}"


@contextmanager
def silent_node(address: str) -> Iterator[None]:
    """A node at ``address`` that takes connections and never answers."""
    parts = urlsplit(address)
    with socket.create_server((parts.hostname or "", parts.port or 0)):
        yield


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
