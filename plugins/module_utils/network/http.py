# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""HTTP for registries, Dockerfiles and archives: kept connections, proxies, TLS by host, redirects.

urllib3 speaks it and keeps the connections. Ours is what it has not: see ``connection``, and here plain
HTTP where an insecure server knows no TLS, and proxies and redirects by our rules.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any, BinaryIO, Callable, Optional, Union
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning
from urllib3.exceptions import TimeoutError as Urllib3Timeout
from urllib3.util.ssl_match_hostname import CertificateError

from ..errors import Cancelled
from ..policy import Reach, everywhere
from .connection import Dial, Sockets, TlsSocket, Unending
from .failure import Failure
from .proxy import Proxy, proxy_for
from .reach import FORBIDDEN_HINT, AddressForbidden, Nearness, nearness_of, no_nearer, require
from .tls import SYSTEM, Tls, UnusableFile, new_context

_MOST_REDIRECTS = 10
_KEPT_CONNECTIONS, _KEPT_SERVERS = 32, 100
_CHUNK, _LONGEST_IGNORED = 1 << 16, 1 << 20
# What OpenSSL's versions call plain HTTP where TLS was expected.
_NOT_TLS = frozenset(("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"))
# Of a request; a port that is no port is an ``OverflowError``.
_FAILURES = (
    AddressForbidden,
    Unending,
    OSError,
    ValueError,
    OverflowError,
    HTTPError,
    http.client.HTTPException,
)

#: What a request carries; a file, read from its start, needs a Content-Length.
Carried = Union[bytes, BinaryIO]
#: What is trusted where a redirect from one address to one of another server leads. It raises ``ValueError``,
#: whose text goes on after "it redirects", for an address that is not to be followed.
Onward = Callable[[str, str], Tls]

# That a certificate is not checked is what the settings of the engine say; no request tells it again.
urllib3.disable_warnings(InsecureRequestWarning)


class HttpClient:
    """Requests to servers, over connections that are kept; may be used by several threads.

    ``timeout`` and ``body_seconds`` are those of ``Sockets``. Proxies come from the environment (see
    ``proxy_for``). With ``dial`` all requests go to where it leads.

    ``reach`` is asked for each address of a host when a connection to it is made, after redirects too,
    and only those it allows are used. With a proxy between it is asked for the proxy; and for the server,
    where its name can be resolved here: what the proxy itself makes of the name is for the proxy to guard.

    Use it as a context manager: at the end its connections are closed, and what other threads wait for
    ends with ``Cancelled``.
    """

    def __init__(
        self,
        *,
        timeout: float = 30.0,
        body_seconds: Optional[float] = None,
        reach: Reach = everywhere,
        dial: Optional[Dial] = None,
    ) -> None:
        self._reach = reach
        self._sockets = Sockets(timeout, body_seconds=body_seconds, dial=dial)
        self._lock = threading.Lock()
        self._managers: dict[tuple[str, Tls, Optional[Proxy]], urllib3.PoolManager] = {}
        self._proxies: dict[tuple[str, str], Optional[Proxy]] = {}
        self._plain: set[str] = set()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections, and end every request and pause that is under way."""
        self._sockets.close()
        with self._lock:
            managers = list(self._managers.values())
        for pools in (manager.pools for manager in managers):
            # To clear a manager leaves its pools open, in urllib3 2, for as long as anything knows them.
            for key in pools.keys():  # noqa: SIM118, it cannot be gone through itself
                pool = pools.get(key)
                if pool is not None:
                    pool.close()

    def wait(self, seconds: float) -> None:
        """Wait; raises ``Cancelled`` when the client is closed meanwhile."""
        if self._sockets.closed.wait(seconds):
            raise Cancelled()

    def base(self, scheme: str, host: str, tls: Tls) -> str:
        """``scheme://host``, and by ``http`` where an insecure ``host[:port]`` turned out to know no TLS."""
        return f"{'http' if tls.insecure and host in self._plain else scheme}://{host}"

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Carried = b"",
        tls: Tls = SYSTEM,
        onward: Optional[Onward] = None,
    ) -> Iterator[Answer]:
        """The answer to one request, as a context manager; redirects are followed where ``onward`` is given.

        An Authorization header does not follow to another server, and no server leads to one that is
        nearer to this machine. Raises ``Failure``, whose ``__cause__`` is what urllib3 met with, also from
        ``Answer.read``.
        """
        for _ in range(_MOST_REDIRECTS + 1):
            with closing(self._ask(method, url, headers, body, tls)) as answer:
                location = answer.headers.get("Location")
                if onward is None or answer.status not in (301, 302, 303, 307, 308) or not location:
                    yield answer
                    return
                with suppress(Failure):
                    answer.read_all(_LONGEST_IGNORED)
            if method not in ("GET", "HEAD") and answer.status < 307:
                raise _redirects(url, "in a way that cannot be followed")
            try:
                following = urljoin(answer.url, location).partition("#")[0]
                if _server(following) != _server(answer.url):
                    tls = onward(answer.url, following)
                    tls = replace(tls, nearest=min(tls.nearest, answer.nearest))
                    headers = {name: text for name, text in headers.items() if name != "Authorization"}
            except ValueError as error:
                raise _redirects(url, str(error)) from None
            url = following
        raise _redirects(url, "more often than can be followed")

    def _ask(self, method: str, url: str, headers: Mapping[str, str], body: Carried, tls: Tls) -> Answer:
        scheme, host = _server(url)
        target, plain = url[len(f"{scheme}://{host}") :], False
        here = self._sockets.here
        while True:
            base = f"http://{host}" if plain else self.base(scheme, host, tls)
            manager = self._manager(base, tls)
            here.kept = here.connected = True
            if not isinstance(body, bytes):
                body.seek(0)
            try:
                response = manager.request(
                    method,
                    base + target,
                    body=body or None,
                    headers={"User-Agent": "image-builder", **headers},
                    redirect=False,
                    preload_content=False,
                    decode_content=False,
                    enforce_content_length=True,
                )
            except _FAILURES as error:
                cause = _cause(error)
                # A server may close a connection it no longer wants at any time: that is no failure,
                # unless it had begun to take a file: what becomes of that only the caller knows.
                gone = isinstance(cause, (ConnectionError, ssl.SSLEOFError))
                if gone and here.kept and isinstance(body, bytes):
                    continue
            else:
                if plain:
                    self._plain.add(host)
                given = Answer(self, self._sockets, base + target, response)
                # Through a proxy nobody knows who answered: what the name means here stands for it.
                proxied = manager.proxy is not None
                given.nearest = nearness_of(_name(base)) if proxied else here.nearest
                return given
            plain = tls.may_be_plain and base.startswith("https:") and _knows_no_tls(cause, host)
            if not plain:
                raise self.explain(base, cause, connected=here.connected) from cause

    def explain(self, url: str, error: Exception, *, connected: bool = True) -> Exception:
        """What to raise for ``error``, which ended an exchange with the server of ``url``."""
        if self._sockets.closed.is_set():
            return Cancelled()
        host, cause = _server(url)[1], _cause(error)
        if isinstance(cause, AddressForbidden):
            return Failure("forbidden", str(cause), hint=FORBIDDEN_HINT)
        if isinstance(cause, Unending):
            return Failure("too_long", f"{host} {cause}")
        if isinstance(cause, (ssl.SSLCertVerificationError, CertificateError)):
            why = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or cause
            return Failure("certificate", f"the certificate of {host} is not trusted: {why}")
        if isinstance(cause, ssl.SSLError) and not connected:
            why = cause.reason or cause.strerror
            return Failure("tls", f"{host} does not speak TLS as expected: {why}")
        if isinstance(cause, socket.gaierror):
            what = f"the name of {host} cannot be resolved"
        elif isinstance(cause, ConnectionRefusedError):
            what = f"{host} refused the connection"
        elif isinstance(cause, socket.timeout):
            what = f"{host} did not answer in time"
        elif isinstance(cause, (http.client.HTTPException, HTTPError)):
            what = f"{host} broke off or did not answer in HTTP"
        else:
            what = f"there is no connection to {host} ({getattr(cause, 'strerror', None) or cause})"
        return Failure("unreachable", what, pause=0.0, connected=connected)

    def _manager(self, base: str, tls: Tls) -> urllib3.PoolManager:
        """What keeps the connections to the server at ``base``."""
        scheme, host = _server(base)
        try:
            if (scheme, host) not in self._proxies:
                self._proxies[scheme, host] = proxy_for(scheme, host)
            proxy = self._proxies[scheme, host]
            if proxy is not None:
                require(_name(base), 0, no_nearer(self._reach, tls.nearest))
            with self._lock:
                if (scheme, tls, proxy) not in self._managers:
                    self._managers[scheme, tls, proxy] = self._new_manager(scheme, tls, proxy)
                return self._managers[scheme, tls, proxy]
        except AddressForbidden as error:
            raise self.explain(base, error) from None
        except ValueError as error:
            hint = f"Set {scheme}_proxy to http://host:port."
            raise Failure("unreachable", f"{host} is not reached: {error}", hint=hint) from None
        except UnusableFile as error:
            raise Failure("tls", str(error), hint="Correct the file, or take it away.") from None

    def _new_manager(self, scheme: str, tls: Tls, proxy: Optional[Proxy]) -> urllib3.PoolManager:
        settings: dict[str, Any] = {
            "num_pools": _KEPT_SERVERS,
            "maxsize": _KEPT_CONNECTIONS,
            "timeout": urllib3.Timeout(connect=self._sockets.timeout, read=self._sockets.timeout),
            "retries": False,
        }
        # A proxy is spoken to by HTTP. To read the system's CAs takes longer than a whole exchange.
        if scheme == "https":
            settings["ssl_context"] = new_context(tls)
            settings["ssl_context"].sslsocket_class = TlsSocket
        if proxy is None:
            manager = urllib3.PoolManager(**settings)
        else:
            url = f"http://{proxy.address}"
            manager = urllib3.ProxyManager(url, proxy_headers=proxy.headers, **settings)
        # The proxy itself may be nearer: it is this machine's settings that name it.
        reach = no_nearer(self._reach, tls.nearest) if proxy is None else self._reach
        manager.pool_classes_by_scheme = self._sockets.pools(reach)
        return manager


class Answer:
    """A server's answer, whose body is read as it comes.

    ``url`` is where it came from, ``nearest`` how near to this machine that is.
    """

    nearest = Nearness.HERE

    def __init__(self, client: HttpClient, sockets: Sockets, url: str, response: Any) -> None:
        self.url = url
        self.status: int = response.status
        self.headers: urllib3.HTTPHeaderDict = response.headers
        self._client = client
        self._sockets = sockets
        self._response = response
        self._handle: Optional[socket.socket] = None
        connection = response.connection
        if connection is not None and connection.sock is None:
            # It ends with this answer, which alone has the socket now.
            self._handle, connection.handle = connection.handle, None

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, none at the end. Raises ``Failure`` where the answer breaks off."""
        try:
            content: bytes = self._response.read(size)
        except _FAILURES as error:
            raise self._client.explain(self.url, error) from _cause(error)
        if self._sockets.closed.is_set():
            # Where a body goes on until its connection ends, it now seems to be whole.
            raise Cancelled()
        return content

    def read_all(self, most: int) -> bytes:
        """The whole body. Raises ``Failure``, also where it has more than ``most`` bytes."""
        content = bytearray()
        while chunk := self.read(_CHUNK):
            content += chunk
            if len(content) > most:
                host = _server(self.url)[1]
                raise Failure("too_long", f"the answer of {host} is longer than {most} bytes")
        return bytes(content)

    def close(self) -> None:
        """Give the connection back, or end it where there is more to read."""
        try:
            self._response.close()
        finally:
            self._sockets.forget(self._handle)


def _server(url: str) -> tuple[str, str]:
    """The scheme and ``host[:port]`` of an address."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _name(url: str) -> str:
    """The host of an address, without its port."""
    return urlsplit(url).hostname or ""


def _redirects(url: str, where: str) -> Failure:
    return Failure("redirect", f"{_server(url)[1]} redirects {where}")


def _knows_no_tls(cause: Exception, host: str) -> bool:
    """Whether a failure says that plain HTTP may be spoken there."""
    if isinstance(cause, ConnectionRefusedError):
        # Port 443 was only assumed: see isPortError in containerd's HTTP fallback.
        return not host.rpartition(":")[2].isdigit()
    return isinstance(cause, ssl.SSLError) and cause.reason in _NOT_TLS


def _cause(error: Exception) -> Exception:
    """What urllib3 made ``error`` of."""
    if isinstance(error, Urllib3Timeout):
        return socket.timeout()
    inner = [argument for argument in error.args if isinstance(argument, Exception)]
    return _cause(inner[-1]) if inner and isinstance(error, HTTPError) else error
