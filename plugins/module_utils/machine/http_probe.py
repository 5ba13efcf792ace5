# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Whether a service of this machine answers.

By the standard library alone, since it is asked before the machine has what ``network.http`` needs.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from urllib.parse import urlsplit


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def status(url: str, timeout: float = 5.0) -> int:
    """The status of the answer to GET ``url``, which may be ``unix:///socket`` (asked for ``/_ping``).

    A certificate is not checked: the question is whether the service is there, and nothing
    secret is sent. Raises ``OSError`` or ``http.client.HTTPException`` when nothing answers.
    """
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "unix":
        connection = _UnixConnection(parts.path, timeout)
    elif parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
    try:
        connection.request("GET", "/_ping" if parts.scheme == "unix" else parts.path or "/")
        return connection.getresponse().status
    finally:
        connection.close()
