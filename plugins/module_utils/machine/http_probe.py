# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One HTTP request to a local service, over TCP or a Unix socket."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Mapping
from typing import Optional
from urllib.parse import urlsplit


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def status(
    url: str,
    method: str = "GET",
    headers: Optional[Mapping[str, str]] = None,
    timeout: float = 5.0,
    header: str = "",
) -> tuple[int, str]:
    """The status and one header of the answer; ``url`` may be ``unix:///socket`` (asked for ``/_ping``).

    A certificate is not checked: the question is whether the service is there, and nothing
    secret is sent. Raises ``OSError`` or ``http.client.HTTPException`` when nothing answers.
    """
    parts = urlsplit(url)
    connection: http.client.HTTPConnection
    if parts.scheme == "unix":
        connection = _UnixConnection(parts.path, timeout)
        path = "/_ping"
    elif parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=context)
        path = parts.path or "/"
    else:
        connection = http.client.HTTPConnection(parts.netloc, timeout=timeout)
        path = parts.path or "/"
    try:
        connection.request(method, path, headers=dict(headers or {}))
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader(header, "") if header else ""
    finally:
        connection.close()
