# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What the tests' own servers, and those who ask them, have in common: logins and TLS."""

from __future__ import annotations

import base64
import ssl
from http.server import ThreadingHTTPServer
from pathlib import Path


def encoded_account(username: str, password: str) -> str:
    """``username:password`` in Base64, as HTTP's Basic scheme and Docker's configuration have it."""
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def speak_tls(server: ThreadingHTTPServer, certificate: Path, key: Path) -> None:
    """Have ``server`` answer by TLS; the thread of each connection shakes hands, not the one that accepts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
