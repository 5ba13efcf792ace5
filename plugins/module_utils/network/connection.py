# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""urllib3's connections with what they lack: allowed addresses only, a deadline, and an end from outside."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any, Callable, Optional

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from ..errors import Cancelled
from ..policy import Reach
from .reach import Nearness, allowed, place_of

_CONNECT_SECONDS = 10.0
# The most bytes that come before an answer's body, those of 1xx answers among them. http.client bounds a line
# and the number of headers, but neither how often "100 Continue" comes nor what the headers of it hold.
_LONGEST_HEAD = 1 << 18

#: Makes a connection, in place of one to the host of a URL. It raises ``OSError``.
Dial = Callable[[], socket.socket]


class Unending(Exception):
    """An answer does not come to an end. The text, a clause, goes on after the server's name."""


class Sockets:
    """The sockets of one client, which ``close`` ends from another thread.

    ``timeout`` (seconds) bounds each silence of a server, and the time that an answer takes: the whole of
    it, or what comes before its body where that has ``body_seconds`` of its own.
    """

    def __init__(
        self, timeout: float, *, body_seconds: Optional[float] = None, dial: Optional[Dial] = None
    ) -> None:
        self.dial = dial
        self.timeout = timeout
        self.body_seconds = body_seconds
        self.closed = threading.Event()
        #: Of the thread that asks: whether its connection was kept from before (``kept``), whether it
        #: leads to a server (``connected``), and how near whoever answered is (``nearest``).
        self.here = threading.local()
        self._lock = threading.Lock()
        self._handles: set[socket.socket] = set()

    def pools(self, reach: Reach) -> Any:
        """For ``PoolManager.pool_classes_by_scheme``: pools whose sockets are ours, within ``reach``."""
        own: dict[str, Any] = {"sockets": self, "reach": reach}
        return {"http": partial(_Pool, **own), "https": partial(_TlsPool, **own)}

    def close(self) -> None:
        """Wake each thread that waits for a socket, and leave it to that thread to close it."""
        self.closed.set()
        with self._lock:
            for handle in self._handles:
                with suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)

    def second_handle(self, made: socket.socket) -> socket.socket:
        """What ``close`` shuts a socket down by: TLS takes the first handle away from who made it."""
        with self._lock:
            if self.closed.is_set():
                raise Cancelled()
            handle = made.dup()
            self._handles.add(handle)
            return handle

    def forget(self, handle: Optional[socket.socket]) -> None:
        """Close a second handle."""
        if handle is not None:
            with self._lock:
                self._handles.discard(handle)
            handle.close()


class _Timed:
    """What stands before classes of sockets: they receive until ``until`` (by the monotonic clock).

    ``left`` is how many bytes may still come, ``None`` for any number. What comes too late is no silence
    where ``paced``: the server had all the time that it may take.
    """

    until: Optional[float] = None
    paced = False
    left: Optional[int] = None

    def recv_into(self, *args: Any) -> int:
        received = self._receive(*args)
        if self.left is not None:
            self.left -= received
            if self.left < 0:
                raise Unending("sends headers without an end")
        return received

    def _receive(self, *args: Any) -> int:
        own: Any = self
        if self.until is None:
            return super().recv_into(*args)  # type: ignore[misc, no-any-return]
        silence, left = own.gettimeout(), self.until - time.monotonic()
        own.settimeout(min(max(left, 0.001), silence))
        try:
            return super().recv_into(*args)  # type: ignore[misc, no-any-return]
        except socket.timeout:
            if self.paced and time.monotonic() >= self.until:
                raise Unending("takes too long to send it all") from None
            raise
        finally:
            own.settimeout(silence)


class _Socket(_Timed, socket.socket):
    pass


class TlsSocket(_Timed, ssl.SSLSocket):
    """For ``SSLContext.sslsocket_class``."""


class _Own:
    """What stands before urllib3's classes of connections."""

    handle: Optional[socket.socket] = None
    sock: Any

    def __init__(self, *args: Any, sockets: Sockets, reach: Reach, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._sockets = sockets
        self._reach = reach
        self._nearest = Nearness.HERE
        self._answering = False

    def connect(self) -> None:
        here = self._sockets.here
        here.kept = here.connected = False
        try:
            super().connect()  # type: ignore[misc]
        except (BrokenPipeError, ConnectionResetError) as error:
            # By their numbers urllib3 2 takes them for what befell a request, and looks for its answer.
            raise ConnectionError(error.strerror) from None
        here.connected = True
        self.sock.settimeout(self._sockets.timeout)

    def _new_conn(self) -> socket.socket:
        """A socket that leads to an allowed address of the host.

        Raises ``AddressForbidden``, ``OSError``, ``UnicodeError``, and ``OverflowError`` for no port.
        """
        own: Any = self
        until = time.monotonic() + self._sockets.timeout
        if self._sockets.dial is not None:
            made = _Socket(fileno=self._sockets.dial().detach())
            made.settimeout(self._sockets.timeout)
            self.handle = self._sockets.second_handle(made)
            return made
        failed: Optional[OSError] = None
        for family, address in allowed(own._dns_host, own.port, self._reach):
            made = _Socket(family, socket.SOCK_STREAM)
            try:
                for option in own.socket_options or ():
                    made.setsockopt(*option)
                made.settimeout(max(0.001, min(_CONNECT_SECONDS, until - time.monotonic())))
                self.handle = self._sockets.second_handle(made)
                made.connect(address)
                # A proxy may answer before there is a connection to speak of.
                made.until, made.left = until, _LONGEST_HEAD
                self._nearest = place_of(address)
                return made
            except BaseException as error:
                made.close()
                self._forget()
                if not isinstance(error, OSError):
                    raise
                failed = error
        raise failed or socket.gaierror(f"{own.host} has no address")

    def getresponse(self, *args: Any, **settings: Any) -> Any:
        sock, self._answering = self.sock, True
        self._sockets.here.nearest = self._nearest
        sock.until, sock.left = time.monotonic() + self._sockets.timeout, _LONGEST_HEAD
        sock.paced = False
        try:
            return super().getresponse(*args, **settings)  # type: ignore[misc]
        finally:
            self._answering, sock.left = False, None
            if self._sockets.body_seconds is not None:
                sock.paced = True
                sock.until = time.monotonic() + self._sockets.body_seconds

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        # Where the server wants no further request, http.client closes before the body was read.
        if not self._answering:
            self._forget()

    def _forget(self) -> None:
        self._sockets.forget(self.handle)
        self.handle = None


class _Connection(_Own, HTTPConnection):
    pass


class _TlsConnection(_Own, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection
