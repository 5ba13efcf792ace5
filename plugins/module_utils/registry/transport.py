# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""HTTP as registries need it: kept connections, TLS by endpoint, proxies, redirects, patience."""

from __future__ import annotations

import email.utils
import http.client
import os
import re
import socket
import ssl
import string
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import BinaryIO, Callable, Optional, TypeVar, Union
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from ..errors import Cancelled
from ..network.proxy import Proxy, proxy_for
from ..oci.reference import is_registry_host
from ..retry import Patience, patiently
from .hosts import Endpoint, RegistryHosts

#: The most that is read of one answer, in bytes; containerd's limit for a manifest or config.
LONGEST_BODY = 8 << 20
_CONNECT_SECONDS = 10.0
# A name that does not resolve and a refused connection are mostly a typing error.
_CONNECT_RETRY_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 16.0
_MOST_REDIRECTS = 5
_CHUNK = 64 << 10
# What OpenSSL's versions call plain HTTP where TLS was expected.
_NOT_TLS = frozenset(("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"))

_T = TypeVar("_T")
#: What a request carries; a file, read from its start, needs a Content-Length.
Carried = Union[bytes, BinaryIO]


class Failure(Exception):
    """Why an endpoint did not do what was asked; ``registry`` makes the user's error of it.

    ``what`` is the end of a sentence. A ``temporary`` failure may be gone later: ``pause`` is
    how many seconds the server asks to wait, ``connected`` whether there was a server at all.
    """

    def __init__(
        self,
        code: str,
        what: str,
        *,
        hint: str = "",
        status: Optional[int] = None,
        temporary: bool = False,
        pause: float = 0.0,
        connected: bool = True,
    ) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.hint = hint
        self.status = status
        self.temporary = temporary
        self.pause = pause
        self.connected = connected


@dataclass(frozen=True)
class Response:
    """An answer below 500. ``endpoint`` is who gave it: another than was asked after a redirect."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    endpoint: Endpoint


@dataclass(eq=False)
class _Connection:
    """A connection and what requests on it need where it leads to a proxy."""

    http: http.client.HTTPConnection
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


class Transport:
    """Requests to endpoints over connections that are kept; may be used by several threads.

    ``timeout`` (seconds) bounds the silence of a server, and the whole of one answer.
    Proxies come from the environment (``https_proxy``, ``http_proxy``, ``no_proxy``), which
    loopback addresses never use, as in Go programs.
    """

    def __init__(self, hosts: RegistryHosts, timeout: float) -> None:
        self._hosts = hosts
        self._timeout = timeout
        self._lock = threading.Lock()
        self._idle: dict[Endpoint, list[_Connection]] = defaultdict(list)
        self._open: set[_Connection] = set()
        self._contexts: dict[Endpoint, ssl.SSLContext] = {}
        self._plain: set[Endpoint] = set()
        self._closed = threading.Event()

    def close(self) -> None:
        """Close every connection and end every request and pause that is under way."""
        self._closed.set()
        with self._lock:
            idle = [connection for kept in self._idle.values() for connection in kept]
            self._idle.clear()
            self._open.difference_update(idle)
            busy = list(self._open)
        for connection in idle:
            connection.http.close()
        for connection in busy:
            # This wakes the thread that waits for the socket, and leaves it to that thread to close it.
            with suppress(OSError):
                socket.socket.shutdown(connection.http.sock, socket.SHUT_RDWR)

    def patiently(self, call: Callable[[], _T], retry_for: float) -> _T:
        """``call()``, again after growing pauses while it fails temporarily, for ``retry_for`` seconds.

        Where no connection came about, not longer than three seconds. A server's Retry-After
        is obeyed; one that leads beyond the limit ends the tries at once.
        """
        patience = Patience(retry_for, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)

        def pause(failure: Failure) -> Optional[float]:
            limit = None if failure.connected else _CONNECT_RETRY_SECONDS
            return patience.pause(failure.pause, limit) if failure.temporary else None

        return patiently(call, Failure, pause, wait=self._wait)

    def _wait(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise Cancelled()

    def send(
        self,
        endpoint: Endpoint,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Carried = b"",
    ) -> Response:
        """One request for ``target`` (a path, with its query), redirects followed.

        An Authorization header never follows to another host. Raises ``Failure`` also for
        429 and 5xx.
        """
        for _ in range(_MOST_REDIRECTS):
            response = self._exchange(endpoint, method, target, headers, body)
            location = response.headers.get("Location")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return _checked(response)
            if method not in ("GET", "HEAD") and response.status < 307:
                break
            near = self.own_target(endpoint, target, location)
            if near is not None:
                target = near
                continue
            endpoint, target = self.elsewhere(endpoint, location)
            headers = {name: value for name, value in headers.items() if name != "Authorization"}
        raise Failure("registry_error", f"{endpoint.host} redirects in a way that cannot be followed")

    def own_target(self, endpoint: Endpoint, target: str, location: str) -> Optional[str]:
        """Path and query of ``location`` (relative to ``target``) on the same server, else ``None``."""
        here = f"{self._scheme(endpoint)}://{endpoint.host}"
        try:
            parts = urlsplit(urljoin(here + target, location))
        except ValueError:
            return None
        return _target(parts) if f"{parts.scheme}://{parts.netloc}" == here else None

    def elsewhere(self, origin: Endpoint, url: str) -> tuple[Endpoint, str]:
        """Another server that ``origin`` leads to, and path and query there.

        Raises ``Failure`` for an address that cannot be used.
        """
        found = None
        with suppress(ValueError):
            parts = urlsplit(url)
            if parts.scheme in ("http", "https") and is_registry_host(parts.netloc):
                found = self._hosts.elsewhere(origin, parts.scheme, parts.netloc)
        if found is None:
            raise Failure("registry_error", f"{origin.host} leads to an address that cannot be used")
        return found, _target(parts)

    def _scheme(self, endpoint: Endpoint) -> str:
        return "http" if _server(endpoint) in self._plain else endpoint.scheme

    def _exchange(
        self, endpoint: Endpoint, method: str, target: str, headers: Mapping[str, str], body: Carried
    ) -> Response:
        server = _server(endpoint)
        while True:
            with self._lock:
                idle = self._idle[server]
                connection = idle.pop() if idle else None
            kept = connection is not None
            if connection is None:
                connection = self._connect(server)
            try:
                if self._closed.is_set():
                    raise Cancelled()
                if not isinstance(body, bytes):
                    body.seek(0)
                connection.http.request(
                    method,
                    connection.url + target,
                    body=body or None,
                    headers={"User-Agent": "image-builder", **connection.headers, **headers},
                )
                answer = connection.http.getresponse()
                content = self._read(answer, endpoint)
            except (OSError, http.client.HTTPException) as error:
                self._drop(connection)
                # A server may close a connection it no longer wants at any time: that is no failure,
                # unless it had begun to take a file: what becomes of that only the caller knows.
                gone = isinstance(error, (ConnectionError, ssl.SSLEOFError))
                if kept and gone and isinstance(body, bytes):
                    continue
                if self._closed.is_set():
                    raise Cancelled() from None
                raise _unreachable(endpoint, error, connected=True) from None
            except BaseException:
                self._drop(connection)
                raise
            if answer.will_close or self._closed.is_set():
                self._drop(connection)
            else:
                with self._lock:
                    self._idle[server].append(connection)
            return Response(answer.status, answer.headers, content, endpoint)

    def _read(self, answer: http.client.HTTPResponse, endpoint: Endpoint) -> bytes:
        deadline = time.monotonic() + self._timeout
        content = bytearray()
        while chunk := answer.read1(_CHUNK):
            content += chunk
            if len(content) > LONGEST_BODY:
                raise Failure(
                    "registry_error", f"the answer of {endpoint.host} is longer than {LONGEST_BODY} bytes"
                )
            if time.monotonic() > deadline:
                raise socket.timeout
        if answer.length:
            raise http.client.IncompleteRead(bytes(content), answer.length)
        # Unlike read1, read ends the answer, so that the connection can be used again.
        answer.read()
        return bytes(content)

    def _drop(self, connection: _Connection) -> None:
        with self._lock:
            self._open.discard(connection)
        connection.http.close()

    def _connect(self, server: Endpoint) -> _Connection:
        scheme = self._scheme(server)
        try:
            return self._connect_by(scheme, server)
        except ssl.SSLCertVerificationError as error:
            raise Failure(
                "registry_tls",
                f"the certificate of {server.host} is not trusted: {error.verify_message or error.reason}",
                hint=f"Put the CA's certificate into /etc/docker/certs.d/{server.host}/ca.crt "
                "(BuildKit reads it there too), or correct the registry's certificate.",
            ) from None
        except ssl.SSLError as error:
            if server.insecure and error.reason in _NOT_TLS:
                return self._connect_plain(server)
            raise Failure(
                "registry_tls",
                f"{server.host} does not speak TLS as expected: {error.reason or error.strerror}",
                hint="If the registry speaks plain HTTP, list it in the Docker Engine's insecure-registries.",
            ) from None
        except ConnectionRefusedError as error:
            # Port 443 was only assumed: see isPortError in containerd's HTTP fallback.
            if server.insecure and scheme == "https" and not _names_port(server.host):
                return self._connect_plain(server)
            raise _unreachable(server, error, connected=False) from None
        except (OSError, ValueError, OverflowError) as error:
            raise _unreachable(server, error, connected=False) from None

    def _connect_plain(self, server: Endpoint) -> _Connection:
        try:
            connection = self._connect_by("http", server)
        except OSError as error:
            raise _unreachable(server, error, connected=False) from None
        self._plain.add(server)
        return connection

    def _connect_by(self, scheme: str, server: Endpoint) -> _Connection:
        proxy = _proxy(scheme, server.host)
        address = proxy.address if proxy else server.host
        timeout = min(_CONNECT_SECONDS, self._timeout)
        made: http.client.HTTPConnection
        if scheme == "https":
            made = http.client.HTTPSConnection(address, timeout=timeout, context=self._context(server))
        else:
            made = http.client.HTTPConnection(address, timeout=timeout)
        connection = _Connection(made)
        if proxy is not None and scheme == "https":
            parts = urlsplit(f"//{server.host}")
            made.set_tunnel(parts.hostname or "", parts.port or 443, proxy.headers)
        elif proxy is not None:
            connection = _Connection(made, f"http://{server.host}", proxy.headers)
        try:
            made.connect()
            made.sock.settimeout(self._timeout)
        except BaseException:
            made.close()
            raise
        with self._lock:
            self._open.add(connection)
        return connection

    def _context(self, server: Endpoint) -> ssl.SSLContext:
        with self._lock:
            if server not in self._contexts:
                self._contexts[server] = _new_context(server)
            return self._contexts[server]


def _server(endpoint: Endpoint) -> Endpoint:
    """What the connections to one server have in common."""
    return replace(endpoint, path="", mirror=False)


def _names_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit()


def _target(parts: SplitResult) -> str:
    return quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=string.punctuation)


def _new_context(server: Endpoint) -> ssl.SSLContext:
    """TLS with the system's CAs and those of ``server.certificates``."""
    context = ssl.create_default_context()
    # A private CA need not be made as strictly as RFC 5280 says, nor a server's own certificate
    # be one of a CA, to be trusted by Go programs; Python 3.13 differs on the first.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
    if server.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for folder in server.certificates:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            path = os.path.join(folder, name)
            try:
                if name.endswith(".crt"):
                    context.load_verify_locations(path)
                elif name.endswith(".cert"):
                    context.load_cert_chain(path, path[: -len("cert")] + "key")
            except OSError as error:
                raise Failure(
                    "registry_tls",
                    f"{path} cannot be used: {error.strerror or 'it holds no certificate'}",
                    hint="Correct the file, or take it away.",
                ) from None
    return context


def _proxy(scheme: str, host: str) -> Optional[Proxy]:
    try:
        return proxy_for(scheme, host)
    except ValueError as error:
        raise Failure(
            "registry_unreachable", str(error), hint=f"Set {scheme}_proxy to http://host:port."
        ) from None


def _checked(response: Response) -> Response:
    if response.status == 429 or (response.status >= 500 and response.status != 501):
        busy = response.status == 429
        raise Failure(
            "registry_error",
            f"{response.endpoint.host} answered {response.status}"
            + (
                " (too many requests)"
                if busy
                else f" ({http.client.responses.get(response.status, 'error')})"
            ),
            hint="Wait and try again; a login often raises the limit." if busy else "Try again later.",
            status=response.status,
            temporary=True,
            pause=_retry_after(response.headers.get("Retry-After", "")),
        )
    return response


def _retry_after(text: str) -> float:
    """Seconds to wait by a Retry-After header: a number, or a date (RFC 9110, 10.2.3)."""
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0


def _unreachable(endpoint: Endpoint, error: Exception, *, connected: bool) -> Failure:
    if isinstance(error, socket.gaierror):
        what = f"the name of {endpoint.host} cannot be resolved"
    elif isinstance(error, ConnectionRefusedError):
        what = f"{endpoint.host} refused the connection"
    elif isinstance(error, socket.timeout):
        what = f"{endpoint.host} did not answer in time"
    elif isinstance(error, http.client.HTTPException):
        what = f"{endpoint.host} broke off or did not answer in HTTP"
    else:
        what = f"there is no connection to {endpoint.host} ({getattr(error, 'strerror', None) or error})"
    return Failure(
        "registry_unreachable",
        what,
        hint="Check the registry's name and port, and that it runs.",
        temporary=True,
        connected=connected,
    )
