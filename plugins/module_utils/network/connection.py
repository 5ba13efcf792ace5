# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""urllib3's connections with what they lack: allowed addresses only, a deadline, and an end from outside."""

from __future__ import annotations

import http.client
import io
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any, Optional

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from ..errors import Cancelled
from ..policy import Reach
from .reach import AddressForbidden, allowed

_CONNECT_SECONDS = 10.0
#: Of making a connection; a port that is no port is an ``OverflowError``.
_FAILURES = (AddressForbidden, OSError, ValueError, OverflowError, HTTPError, http.client.HTTPException)


class NotConnected(Exception):
    """Carries ``cause``, why there is no connection, past urllib3, which would make another error of it."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


class Sockets:
    """The sockets of one client, which ``close`` ends from another thread.

    ``timeout`` (seconds) bounds each silence of a server, and the time that an answer takes: the whole of
    it, or, without ``bounded_bodies``, what comes before its body.
    """

    def __init__(self, reach: Reach, timeout: float, *, bounded_bodies: bool) -> None:
        self.timeout = timeout
        self.bounded_bodies = bounded_bodies
        self.closed = threading.Event()
        #: Of the thread that asks: whether it has made a connection (``made``) since it last set that.
        self.here = threading.local()
        self._reach = reach
        self._lock = threading.Lock()
        self._handles: set[socket.socket] = set()

    def pools(self) -> Any:
        """For ``PoolManager.pool_classes_by_scheme``: pools whose sockets come from here."""
        return {"http": partial(_Pool, sockets=self), "https": partial(_TlsPool, sockets=self)}

    def close(self) -> None:
        """Wake each thread that waits for a socket, and leave it to that thread to close it."""
        self.closed.set()
        with self._lock:
            for handle in self._handles:
                with suppress(OSError):
                    handle.shutdown(socket.SHUT_RDWR)

    def connect(self, connection: Any, host: str, port: int) -> socket.socket:
        """A socket that leads to an allowed address of ``host``; ``connection`` gets its second handle.

        Raises ``AddressForbidden``, ``OSError`` and ``UnicodeError``.
        """
        self.here.made = True
        until = time.monotonic() + self.timeout
        failed: Optional[OSError] = None
        for family, address in allowed(host, port, self._reach):
            made = socket.socket(family, socket.SOCK_STREAM)
            try:
                for option in connection.socket_options or ():
                    made.setsockopt(*option)
                made.settimeout(max(0.001, min(_CONNECT_SECONDS, until - time.monotonic())))
                connection.handle = self._second_handle(made)
                made.connect(address)
                return made
            except BaseException as error:
                made.close()
                self.forget(connection.handle)
                if not isinstance(error, OSError):
                    raise
                failed = error
        raise failed or socket.gaierror(f"{host} has no address")

    def _second_handle(self, made: socket.socket) -> socket.socket:
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


class _Own:
    """What stands before urllib3's classes of connections."""

    handle: Optional[socket.socket] = None
    sock: Any
    response_class: Any

    def __init__(self, *args: Any, sockets: Sockets, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._sockets = sockets
        self._answering = False
        self.response_class = partial(_BoundedResponse, sockets=sockets)

    def _new_conn(self) -> socket.socket:
        own: Any = self
        return self._sockets.connect(self, own._dns_host, own.port)

    def connect(self) -> None:
        try:
            super().connect()  # type: ignore[misc]
        except (
            AddressForbidden,
            OSError,
            ValueError,
            OverflowError,
            HTTPError,
            http.client.HTTPException,
        ) as error:
            raise NotConnected(error) from None
        self.sock.settimeout(self._sockets.timeout)

    def getresponse(self, *args: Any, **settings: Any) -> Any:
        self._answering = True
        try:
            return super().getresponse(*args, **settings)  # type: ignore[misc]
        finally:
            self._answering = False

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        # Where the server wants no further request, http.client closes before the body was read.
        if not self._answering:
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


class _BoundedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, sockets: Sockets, **settings: Any) -> None:
        super().__init__(sock, *args, **settings)
        received: Any = self.fp
        self._stream = _BoundedStream(received.detach(), sock, sockets.timeout)
        self._bounded_body = sockets.bounded_bodies
        self.fp = io.BufferedReader(self._stream)

    def begin(self) -> None:
        super().begin()
        if not self._bounded_body:
            self._stream.until = None


class _BoundedStream(io.RawIOBase):
    """What ``sock`` receives until ``until`` (by the monotonic clock), ``silence`` seconds apart at most."""

    def __init__(self, received: Any, sock: socket.socket, silence: float) -> None:
        self._received = received
        self._sock = sock
        self._silence = silence
        self.until: Optional[float] = time.monotonic() + silence

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> Optional[int]:
        if self.until is not None:
            left = self.until - time.monotonic()
            if left <= 0:
                raise socket.timeout("timed out")
            self._sock.settimeout(min(left, self._silence))
        try:
            count: Optional[int] = self._received.readinto(buffer)
            return count
        finally:
            self._sock.settimeout(self._silence)

    def close(self) -> None:
        self._received.close()
        super().close()
