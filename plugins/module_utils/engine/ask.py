# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Asking an engine what it is, through the docker package.

Its transport is used with requests, not its ``APIClient``: that one reads all logins of the user's
config.json to begin with and ends on some that Docker's own programs take, and it asks with requests'
settings of the environment (``.netrc``, ``REQUESTS_CA_BUNDLE``), which are not meant for engines.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import quote, urlsplit

from ..errors import EngineError
from ..network.proxy import proxy_for
from . import ssh
from .endpoint import Endpoint

if TYPE_CHECKING:
    import requests

#: How long an engine, and buildx, have to answer.
ANSWER_SECONDS = 30
# Of an engine whose API is older BuildKit is not a part.
_LEAST_API = (1, 39)
_MOST_BYTES = 16 * 1024 * 1024
_TLS_HINT = "Check ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH, or those of the Docker context."


class _Unusable(Exception):
    """Why an endpoint cannot be used, in words that go on a sentence, and what to do about it."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.hint = hint


def prepare() -> None:
    """Begin to import what ``ask`` takes, in a thread.

    Whoever waits for git before an engine is asked spares the time that this takes.
    """

    def load() -> None:
        # Whoever asks is told what is missing.
        with suppress(ImportError):
            import_module("docker.transport")

    threading.Thread(target=load, daemon=True).start()


def ask(endpoint: Endpoint) -> dict[str, Any]:
    """The Engine API's ``GET /info`` of the engine at ``endpoint``.

    Raises ``EngineError`` (``engine_unreachable``) that says why there is no answer, and ``ImportError``
    without the docker package.
    """
    try:
        return _info(endpoint)
    except _Unusable as error:
        raise EngineError("engine_unreachable", f"{endpoint}: {error}.", hint=error.hint) from None


def _info(endpoint: Endpoint) -> dict[str, Any]:
    import requests

    way: Optional[ssh.Dial] = None
    with ExitStack() as stack:
        session = stack.enter_context(requests.Session())
        session.trust_env = False
        try:
            if endpoint.url.startswith("ssh://"):
                way = stack.enter_context(ssh.dial(endpoint.url))
            base = _prepare(session, endpoint, way)
        except ValueError as error:
            raise _Unusable(str(error)) from None
        try:
            # An engine takes a path without a version for its own newest one.
            with session.get(
                f"{base}/info", timeout=ANSWER_SECONDS, stream=True, allow_redirects=False
            ) as response:
                return _read(response)
        except (requests.RequestException, OSError) as error:
            words = way.last_words() if way else ""
            if way is not None and words:
                hint = f"See that this works and asks for nothing: {way.command}"
                raise _Unusable(f"ssh failed: {words}", hint) from None
            raise _explained(error, endpoint) from None


def _prepare(session: requests.Session, endpoint: Endpoint, way: Optional[ssh.Dial]) -> str:
    """Have ``session`` reach ``endpoint``; gives what its URLs begin with. Raises ``ValueError``."""
    import urllib3
    from docker.transport import UnixHTTPAdapter

    parts = urlsplit(endpoint.url)
    if way is not None or parts.scheme == "unix":
        path = way.socket_path if way else parts.netloc + parts.path
        if not path.startswith("/"):
            raise ValueError("it does not name a socket by its whole path")
        session.mount("http+docker://", UnixHTTPAdapter(f"http+unix://{path}", ANSWER_SECONDS))
        return "http+docker://localhost"
    if parts.scheme != "tcp" or not parts.hostname or not parts.port or parts.username is not None:
        raise ValueError(
            "it is not an address such as unix:///run/docker.sock, tcp://host:port or ssh://host"
        )
    scheme = "http" if endpoint.tls is None else "https"
    if endpoint.tls is not None:
        certificate, key = endpoint.tls.file("cert.pem"), endpoint.tls.file("key.pem")
        if not endpoint.tls.verify:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        session.cert = (certificate, key) if certificate and key else None
        session.verify = (endpoint.tls.file("ca.pem") or True) if endpoint.tls.verify else False
    proxy = proxy_for(scheme, parts.netloc)
    if proxy is not None:
        account = f"{quote(proxy.account, safe=':')}@" if proxy.account else ""
        session.proxies = {scheme: f"http://{account}{proxy.address}"}
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _read(response: requests.Response) -> dict[str, Any]:
    end = time.monotonic() + ANSWER_SECONDS
    body = b""
    for chunk in response.iter_content(65536):
        body += chunk
        if len(body) > _MOST_BYTES or time.monotonic() > end:
            raise _Unusable("its answer does not come to an end")
    api = response.headers.get("Api-Version", "")
    numbers = tuple(map(int, re.findall(r"\d+", api)))
    if numbers and numbers < _LEAST_API:
        raise _Unusable(f"its API {api} is older than {'.'.join(map(str, _LEAST_API))}", "Update the engine.")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if response.status_code == 200 and isinstance(content, dict) and content.get("ServerVersion"):
        return content
    text = content.get("message") if isinstance(content, dict) else body.decode(errors="replace")
    if "HTTP request to an HTTPS server" in str(text):
        raise _Unusable("it wants TLS", "Set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, or use a context.")
    if response.status_code != 200:
        said = str(text or "").strip().rstrip(".")[:200]
        raise _Unusable(f"it answers with status {response.status_code}" + (f": {said}" if said else ""))
    raise _Unusable("it does not answer as a Docker Engine does")


def _explained(error: BaseException, endpoint: Endpoint) -> _Unusable:
    """What lies at the bottom of requests' and urllib3's wrappings."""
    import ssl

    import requests

    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _Unusable(f"its TLS certificate is not trusted ({cause.verify_message})", _TLS_HINT)
        if isinstance(cause, ssl.SSLError):
            return _tls_failure(cause, endpoint)
    for cause in causes:
        if isinstance(cause, (socket.timeout, TimeoutError, requests.Timeout)):
            return _Unusable(f"no answer within {ANSWER_SECONDS:.0f} seconds")
        if isinstance(cause, PermissionError):
            return _Unusable(
                "permission denied", "Ask for access to the engine (the group docker), or use root."
            )
        if isinstance(cause, (BrokenPipeError, ConnectionResetError)):
            break
        if isinstance(cause, OSError) and cause.strerror and not isinstance(cause, requests.RequestException):
            return _Unusable(cause.strerror[0].lower() + cause.strerror[1:])
    if endpoint.tls is not None:
        return _tls_failure(None, endpoint)
    return _Unusable("it ends the connection without an answer")


def _tls_failure(error: Optional[OSError], endpoint: Endpoint) -> _Unusable:
    import ssl

    reason = str(getattr(error, "reason", "") or "")
    # Its alert can be lost where it closes the connection before the request has been sent.
    if error is None or "ALERT" in reason or isinstance(error, ssl.SSLEOFError):
        if endpoint.tls is not None and not (endpoint.tls.file("cert.pem") and endpoint.tls.file("key.pem")):
            return _Unusable("it wants a client certificate, and there is none", _TLS_HINT)
        return _Unusable("it does not take the client certificate", _TLS_HINT)
    words = reason.replace("_", " ").lower()
    return _Unusable(f"TLS failed ({words or error})", _TLS_HINT)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error`` and what led to it, as requests and urllib3 keep it."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        found = waiting.pop(0)
        if isinstance(found, BaseException) and found not in seen:
            seen.append(found)
            yield found
            waiting += [getattr(found, "reason", None), *found.args, found.__cause__, found.__context__]


def has_containerd_store(info: Mapping[str, Any]) -> bool:
    """Whether an engine, by its ``GET /info``, keeps images where several platforms fit."""
    status = info.get("DriverStatus") or []
    return any("io.containerd.snapshotter" in str(value) for _, value in status)
