# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Asking an engine what it is, by the HTTP layer that all else is asked by.

The docker package's ``APIClient`` is not used: it reads all logins of the user's config.json to begin with
and ends on some that Docker's own programs take, and it asks with requests' settings of the environment
(``.netrc``, ``REQUESTS_CA_BUNDLE``), which are not meant for engines.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import urlsplit

from ..errors import EngineError
from ..network.failure import Failure
from ..network.tls import SYSTEM
from . import ssh
from .endpoint import Endpoint

if TYPE_CHECKING:
    from ..network.connection import Dial
    from ..network.http import Answer

#: How long an engine, and buildx, have to answer.
ANSWER_SECONDS = 30
# Of an engine whose API is older BuildKit is not a part.
_LEAST_API = (1, 39)
_MOST_BYTES = 16 * 1024 * 1024
_TLS_HINT = "Check ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH, or those of the Docker context."


def prepare() -> None:
    """Begin to import what ``ask`` takes, in a thread.

    Whoever waits for git before an engine is asked spares the time that this takes.
    """

    def load() -> None:
        # Whoever asks is told what is missing.
        with suppress(ImportError):
            import_module("..network.http", __package__)

    threading.Thread(target=load, daemon=True).start()


def ask(endpoint: Endpoint) -> dict[str, Any]:
    """The Engine API's ``GET /info`` of the engine at ``endpoint``.

    Raises ``EngineError`` (``engine_unreachable``) that says why there is no answer, and ``ImportError``
    without urllib3.
    """
    from ..network.http import HttpClient

    try:
        with ExitStack() as stack:
            base, dial = _way(endpoint, stack)
            client = stack.enter_context(HttpClient(timeout=ANSWER_SECONDS, dial=dial))
            # An engine takes a path without a version for its own newest one.
            with client.request("GET", f"{base}/info", {}, tls=endpoint.tls or SYSTEM) as answer:
                return _read(endpoint, answer)
    except Failure as error:
        raise _explained(endpoint, error) from None
    except ValueError as error:
        raise endpoint.unreachable(str(error)) from None


def _way(endpoint: Endpoint, stack: ExitStack) -> tuple[str, Optional[Dial]]:
    """What URLs begin with, and what makes the connection if not their host. Raises ``ValueError``."""
    parts = urlsplit(endpoint.url)
    if parts.scheme == "ssh":
        return "http://localhost", stack.enter_context(ssh.dial(endpoint))
    if parts.scheme == "unix":
        path = parts.netloc + parts.path
        if not path.startswith("/"):
            raise ValueError("it does not name a socket by its whole path")
        return "http://localhost", partial(_connected, path)
    if parts.scheme != "tcp" or not parts.hostname or not parts.port or parts.username is not None:
        raise ValueError(
            "it is not an address such as unix:///run/docker.sock, tcp://host:port or ssh://host"
        )
    scheme = "http" if endpoint.tls is None else "https"
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}", None


def _connected(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    try:
        made.settimeout(ANSWER_SECONDS)
        made.connect(path)
    except OSError:
        made.close()
        raise
    return made


def _read(endpoint: Endpoint, answer: Answer) -> dict[str, Any]:
    body = answer.read_all(_MOST_BYTES)
    api = answer.headers.get("Api-Version", "")
    numbers = tuple(map(int, re.findall(r"\d+", api)))
    if numbers and numbers < _LEAST_API:
        least = ".".join(map(str, _LEAST_API))
        raise endpoint.unreachable(f"its API {api} is older than {least}", "Update the engine.")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if answer.status == 200 and isinstance(content, dict) and content.get("ServerVersion"):
        return content
    text = content.get("message") if isinstance(content, dict) else body.decode(errors="replace")
    if "HTTP request to an HTTPS server" in str(text):
        hint = "Set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, or use a context."
        raise endpoint.unreachable("it wants TLS", hint)
    if answer.status == 200:
        raise endpoint.unreachable("it does not answer as a Docker Engine does")
    said = str(text or "").strip().rstrip(".")[:200]
    raise endpoint.unreachable(f"it answers with status {answer.status}" + (f": {said}" if said else ""))


def _explained(endpoint: Endpoint, error: Failure) -> EngineError:
    """What ``error`` means where an engine is asked."""
    import http.client
    import ssl

    cause = error.__cause__
    if error.code == "too_long":
        return endpoint.unreachable("its answer does not come to an end")
    if error.code == "certificate":
        why = getattr(cause, "verify_message", cause)
        return endpoint.unreachable(f"its TLS certificate is not trusted ({why})", _TLS_HINT)
    if isinstance(cause, socket.timeout) and error.connected:
        return endpoint.unreachable(f"no answer within {ANSWER_SECONDS:.0f} seconds")
    if isinstance(cause, ConnectionRefusedError):
        return endpoint.unreachable("connection refused")
    if isinstance(cause, PermissionError):
        hint = "Ask for access to the engine (the group docker), or use root."
        return endpoint.unreachable("permission denied", hint)
    broken_off = isinstance(cause, (http.client.HTTPException, ConnectionError, ssl.SSLEOFError))
    # Its alert can be lost where it closes the connection before the request has been sent.
    if endpoint.tls is not None and (broken_off or "ALERT" in str(getattr(cause, "reason", ""))):
        if endpoint.tls.file("cert.pem") and endpoint.tls.file("key.pem"):
            return endpoint.unreachable("it does not take the client certificate", _TLS_HINT)
        return endpoint.unreachable("it wants a client certificate, and there is none", _TLS_HINT)
    if broken_off:
        return endpoint.unreachable("it ends the connection without an answer")
    if isinstance(cause, OSError) and not isinstance(cause, ssl.SSLError) and cause.strerror:
        return endpoint.unreachable(cause.strerror[0].lower() + cause.strerror[1:])
    return endpoint.unreachable(error.what, error.hint or (_TLS_HINT if error.code == "tls" else ""))


def has_containerd_store(info: Mapping[str, Any]) -> bool:
    """Whether an engine, by its ``GET /info``, keeps images where several platforms fit."""
    status = info.get("DriverStatus") or []
    return any("io.containerd.snapshotter" in str(value) for _, value in status)
