# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One file from an address, read as it comes: https, http (redirects, a login, proxies) or a local file.

A login is Basic (RFC 7617) and goes to the server that the document names, never on to another
that this one redirects to. From https nothing leads to http.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import socket
import ssl
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, Callable, TypeVar, Union
from urllib.parse import urljoin, urlsplit

from .. import retry
from ..document.source import RemoteFile
from ..errors import SourceError
from ..listener import Listener
from ..network import file_url
from ..network.proxy import proxy_for
from ..retry import Patience

_TIMEOUT_SECONDS = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 4.0
_TRIES = 5
_KEEP_TRYING_SECONDS = 600.0
_MOST_REDIRECTS = 10
_TOKEN_USERNAME = "oauth2"
_ACCESS_HINT = "Check the address, and 'username' and 'password', which may be a token."

_T = TypeVar("_T")


class Body:
    """What a file holds, read in order; ``size`` is how many bytes were read so far."""

    def __init__(self, stream: Union[BinaryIO, http.client.HTTPResponse], file: RemoteFile) -> None:
        self._stream = stream
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, none at the end. Raises ``SourceError`` where the file breaks off."""
        try:
            chunk = self._stream.read(size)
        except (http.client.HTTPException, OSError) as error:
            raise _broken(self._file.url, error) from None
        if not chunk and isinstance(self._stream, http.client.HTTPResponse) and self._stream.length:
            raise _broken(self._file.url, http.client.IncompleteRead(b""))
        self._digest.update(chunk)
        self.size += len(chunk)
        return chunk

    def finish(self) -> str:
        """Read the rest and return the digest of the whole, as ``sha256:...``.

        Raises ``SourceError`` ``checksum_mismatch`` where the document wants another.
        """
        while self.read(1 << 16):
            pass
        digest = f"sha256:{self._digest.hexdigest()}"
        if self._file.checksum not in (None, digest):
            raise SourceError(
                "checksum_mismatch",
                f"{self._file.url} has the digest {digest}, not {self._file.checksum}.",
                hint="It was changed or damaged; correct 'checksum' if you trust the new file.",
            )
        return digest


def patiently(call: Callable[[], _T], listener: Listener) -> _T:
    """``call()``, again after growing pauses while it fails with a ``SourceError`` that can pass."""
    patience = Patience(_KEEP_TRYING_SECONDS, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE, tries=_TRIES)
    return retry.patiently(
        call,
        SourceError,
        lambda error: patience.pause() if error.retryable else None,
        tell=lambda error, pause: listener.line(f"{error.message} Trying again in {pause:g} s."),
    )


@contextmanager
def opened(file: RemoteFile) -> Iterator[Body]:
    """The content of ``file``, as a context manager.

    Raises ``SourceError``: ``source_unreachable`` (``retryable`` where it may pass),
    ``source_unauthorized``, ``source_not_found`` and ``certificate_not_trusted``.
    """
    if file.url.startswith("file:"):
        with _local(file) as local:
            yield Body(local, file)
        return
    url, again = file.url, 0
    while True:
        connection = _connect(url)
        try:
            answer = _ask(connection, url, file)
            location = answer.getheader("Location")
            if answer.status not in (301, 302, 303, 307, 308) or not location:
                _check(answer, file)
                yield Body(answer, file)
                return
        finally:
            connection.close()
        again += 1
        url = _followed(url, location, file, again)


def _local(file: RemoteFile) -> BinaryIO:
    path = file_url.local_path(file.url)
    try:
        # A named pipe would wait for its writer.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        code = "source_unauthorized" if isinstance(error, PermissionError) else "source_not_found"
        raise SourceError(
            code,
            f"{path} cannot be read: {error.strerror}.",
            hint="Give a file of the machine that builds.",
        ) from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise SourceError(
            "source_not_found", f"{path} is not a file.", hint="Give a file of the machine that builds."
        )
    return os.fdopen(handle, "rb")


def _connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    try:
        proxy = proxy_for(parts.scheme, parts.netloc)
    except ValueError as error:
        raise SourceError(
            "source_unreachable",
            f"{_place(url)} is not reached: {error}.",
            hint=f"Set {parts.scheme}_proxy to http://host:port.",
        ) from None
    address = proxy.address if proxy else parts.netloc
    made: http.client.HTTPConnection
    if parts.scheme == "https":
        made = http.client.HTTPSConnection(
            address, timeout=_TIMEOUT_SECONDS, context=ssl.create_default_context()
        )
        if proxy:
            made.set_tunnel(parts.hostname or "", parts.port or 443, dict(proxy.headers))
    else:
        made = http.client.HTTPConnection(address, timeout=_TIMEOUT_SECONDS)
    return made


def _ask(connection: http.client.HTTPConnection, url: str, file: RemoteFile) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"User-Agent": "image-builder", "Accept": "*/*", "Accept-Encoding": "identity"}
    if file.password is not None and file_url.origin(url) == file_url.origin(file.url):
        account = f"{file.username or _TOKEN_USERNAME}:{file.password.reveal()}"
        headers["Authorization"] = f"Basic {base64.b64encode(account.encode()).decode()}"
    try:
        proxy = proxy_for(parts.scheme, parts.netloc) if parts.scheme == "http" else None
        if proxy:
            target = f"http://{parts.netloc}{target}"
            headers.update(proxy.headers)
        connection.request("GET", target, headers=headers)
        return connection.getresponse()
    except ssl.SSLCertVerificationError as error:
        raise SourceError(
            "certificate_not_trusted",
            f"The certificate of {_place(url)} is not trusted: {error.verify_message or error.reason}.",
            hint="Add its CA to the system's, or name a file of CAs in SSL_CERT_FILE.",
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise _broken(url, error) from None


def _followed(url: str, location: str, file: RemoteFile, count: int) -> str:
    """The address that a redirect from ``url`` leads to."""
    followed, reason = "", "more often than can be followed"
    if count <= _MOST_REDIRECTS:
        reason = "to an address that cannot be used"
        with suppress(ValueError):
            followed = urljoin(url, location).partition("#")[0]
            file_url.check_url(followed)
            if followed.startswith("https://") or (
                followed.startswith("http://") and url.startswith("http://")
            ):
                return followed
            reason = "from https to what is not https"
    raise SourceError(
        "source_unreachable",
        f"{_place(url)} redirects {reason}.",
        hint=f"Give the address where {_name(file.url)} really is.",
    )


def _check(answer: http.client.HTTPResponse, file: RemoteFile) -> None:
    status = answer.status
    if status == 200:
        return
    words = http.client.responses.get(status, "")
    what = f"{file.url} is not given: the server answered {status}{f' ({words})' if words else ''}."
    if status in (401, 403, 407):
        raise SourceError("source_unauthorized", what, hint=_ACCESS_HINT)
    if status in (404, 410):
        raise SourceError("source_not_found", what, hint=_ACCESS_HINT)
    temporary = status in (408, 429) or (status >= 500 and status != 501)
    hint = "Wait and try again." if temporary else "Check the address."
    raise SourceError("source_unreachable", what, hint=hint, retryable=temporary)


def _broken(url: str, error: Exception) -> SourceError:
    place = _place(url)
    if isinstance(error, socket.gaierror):
        what = f"The name of {place} cannot be resolved."
    elif isinstance(error, ConnectionRefusedError):
        what = f"{place} refused the connection."
    elif isinstance(error, socket.timeout):
        what = f"{place} did not answer in time."
    elif isinstance(error, http.client.HTTPException):
        what = f"{place} broke off, or did not answer in HTTP."
    else:
        what = f"{place} cannot be read: {getattr(error, 'strerror', None) or error}."
    return SourceError("source_unreachable", what, hint="Check the address and the network.", retryable=True)


def _place(url: str) -> str:
    return urlsplit(url).netloc or file_url.local_path(url)


def _name(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2] or url


def fetch_text(file: RemoteFile, most: int, listener: Listener) -> tuple[bytes, str]:
    """The whole of a small file, and its digest; with more than ``most`` bytes it is an error."""

    def once() -> tuple[bytes, str]:
        with opened(file) as body:
            content = bytearray()
            while chunk := body.read(1 << 16):
                content += chunk
                if len(content) > most:
                    raise SourceError(
                        "source_too_large",
                        f"{file.url} is longer than {most >> 20} MiB.",
                        hint="Give the address of the plain file itself.",
                    )
            return bytes(content), body.finish()

    listener.line(f"fetching {file.url}")
    return patiently(once, listener)


def login_warning(file: RemoteFile) -> tuple[str, ...]:
    """What the user should know of a login that nothing asks for."""
    if file.url.startswith("file:") and file.password is not None:
        return (f"'username' and 'password' serve https and http only, not {file.url}.",)
    return ()
