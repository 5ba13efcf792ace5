# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One file from an address, read as it comes: https, http (redirects, a login, proxies) or a local file.

A login is Basic (RFC 7617) and goes to the server that the document names, never on to another
that this one redirects to. From https nothing leads to http.
"""

from __future__ import annotations

import base64
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, Callable, Optional, TypeVar, Union
from urllib.parse import urlsplit

from .. import process, retry
from ..document.source import RemoteFile
from ..errors import SourceError
from ..listener import Listener
from ..network import file_url
from ..network.failure import Failure, reason, retry_after
from ..network.tls import SYSTEM, Tls
from ..policy import Reach, everywhere

if TYPE_CHECKING:
    from ..network.http import Answer

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 4.0
_TRIES = 5
_KEEP_TRYING_SECONDS = 600.0
_LONGEST_ASKED_PAUSE = 60.0
# How long a file may take to come, an archive and one that is read into memory.
_LONGEST_SECONDS, _SMALL_FILE_SECONDS = 3600.0, 120.0
# What may follow where the reader has seen enough, behind an archive's end: padding.
_MOST_BEHIND = 64 << 20
_TOKEN_USERNAME = "oauth2"
_ACCESS_HINT = "Check the address, and 'username' and 'password', which may be a token."
_CODES = {"certificate": "certificate_not_trusted", "forbidden": "address_forbidden"}

_T = TypeVar("_T")


class Unavailable(SourceError):
    """A server that asks to be left alone for ``pause`` seconds, or failed in a way that may pass."""

    def __init__(self, what: str, hint: str, pause: float = 0.0) -> None:
        super().__init__("source_unreachable", what, hint=hint, retryable=True)
        self.pause = pause


class Body:
    """What a file holds, read in order; ``size`` is how many bytes were read so far."""

    def __init__(self, stream: Union[BinaryIO, Answer], file: RemoteFile) -> None:
        self._stream = stream
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes, none at the end. Raises what ``opened`` makes its errors of."""
        try:
            chunk = self._stream.read(size)
        except OSError as error:
            raise _unreadable(self._file.url, error) from None
        self._digest.update(chunk)
        self.size += len(chunk)
        return chunk

    def finish(self) -> str:
        """Read the rest and return the digest of the whole, as ``sha256:...``.

        Raises ``SourceError``: ``checksum_mismatch`` where the document wants another, ``source_too_large``
        where the rest does not come to an end.
        """
        read = self.size
        while self.read(1 << 16):
            if self.size - read > _MOST_BEHIND:
                raise SourceError(
                    "source_too_large",
                    f"{self._file.shown} goes on for more than {_MOST_BEHIND >> 20} MiB behind its end.",
                    hint="Give an archive that ends where its last file does.",
                )
        digest = f"sha256:{self._digest.hexdigest()}"
        if self._file.checksum not in (None, digest):
            raise SourceError(
                "checksum_mismatch",
                f"{self._file.shown} has the digest {digest}, not {self._file.checksum}.",
                hint="It was changed or damaged; correct 'checksum' if you trust the new file.",
            )
        return digest


def patiently(call: Callable[[], _T], listener: Listener) -> _T:
    """``call()``, again after growing pauses while it fails with a ``SourceError`` that can pass."""
    patience = retry.Patience(_KEEP_TRYING_SECONDS, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE, tries=_TRIES)

    def pause(error: SourceError) -> Optional[float]:
        asked = error.pause if isinstance(error, Unavailable) else 0.0
        return patience.pause(asked) if error.retryable and asked <= _LONGEST_ASKED_PAUSE else None

    return retry.patiently(
        call,
        SourceError,
        pause,
        tell=lambda error, seconds: listener.line(f"{error.message} Trying again in {seconds:g} s."),
        wait=process.pause,
    )


@contextmanager
def opened(file: RemoteFile, reach: Reach = everywhere, seconds: float = _LONGEST_SECONDS) -> Iterator[Body]:
    """The content of ``file``, as a context manager. ``reach`` says which addresses may be connected to.

    All of it has to come within ``seconds``, however steadily it trickles in.

    Raises ``SourceError``: ``source_unreachable`` (``retryable`` where it may pass),
    ``source_unauthorized``, ``source_not_found``, ``certificate_not_trusted`` and ``address_forbidden``.
    """
    if file.url.startswith("file:"):
        with _local(file) as local:
            yield Body(local, file)
        return
    # Not before there is something to fetch: it imports urllib3, which may be missing.
    from ..network.http import HttpClient

    headers = {"Accept": "*/*"}
    if file.password is not None:
        account = f"{file.username or _TOKEN_USERNAME}:{file.password.reveal()}"
        headers["Authorization"] = f"Basic {base64.b64encode(account.encode()).decode()}"
    try:
        with (
            HttpClient(body_seconds=seconds, reach=reach) as client,
            client.request("GET", file.url, headers, onward=onward) as answer,
        ):
            _check(answer, file)
            yield Body(answer, file)
    except Failure as error:
        raise _explained(error, file.shown) from None


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


def onward(current: str, following: str) -> Tls:
    """Judges where a redirect leads: not to what a document may not name, nor away from TLS."""
    try:
        file_url.check_url(following)
    except ValueError:
        raise ValueError("to an address that cannot be used") from None
    allowed = ("https://",) if current.startswith("https://") else ("https://", "http://")
    if not following.startswith(allowed):
        raise ValueError(f"to what is not {' or '.join(allowed)}")
    return SYSTEM


def _check(answer: Answer, file: RemoteFile) -> None:
    status = answer.status
    if status == 200:
        return
    words = reason(status)
    what = f"{file.shown} cannot be fetched: the server answered {status}{f' ({words})' if words else ''}."
    if status in (401, 403, 407):
        raise SourceError("source_unauthorized", what, hint=_ACCESS_HINT)
    if status in (404, 410):
        raise SourceError("source_not_found", what, hint=_ACCESS_HINT)
    if status in (408, 429) or (status >= 500 and status != 501):
        raise Unavailable(what, "Wait and try again.", retry_after(answer.headers))
    raise SourceError("source_unreachable", what, hint="Check the address.")


def _explained(error: Failure, url: str) -> SourceError:
    what = f"{error.what[0].upper() if error.what.startswith('the ') else error.what[0]}{error.what[1:]}."
    if error.pause is not None or error.code == "tls":  # a server may break off while TLS begins
        return Unavailable(what, "Check the address and the network.")
    hint = error.hint
    if error.code == "too_long":
        hint = "Look at what the server does, or give the file from another place."
    elif error.code == "certificate":
        hint = "Add its CA to the system's, or name a file of CAs in SSL_CERT_FILE."
    elif error.code == "redirect":
        hint = f"Give the address where {urlsplit(url).path.rpartition('/')[2] or url} really is."
    return SourceError(_CODES.get(error.code, "source_unreachable"), what, hint=hint or "Check the address.")


def _unreadable(url: str, error: OSError) -> SourceError:
    what = f"{file_url.local_path(url)} cannot be read: {error.strerror or error}."
    return SourceError("source_unreachable", what, hint="Check the file.", retryable=True)


def fetch_text(
    file: RemoteFile, most: int, listener: Listener, reach: Reach = everywhere
) -> tuple[bytes, str]:
    """The whole of a small file, and its digest; with more than ``most`` bytes it is an error."""

    def once() -> tuple[bytes, str]:
        with opened(file, reach, _SMALL_FILE_SECONDS) as body:
            content = bytearray()
            while chunk := body.read(1 << 16):
                content += chunk
                if len(content) > most:
                    raise SourceError(
                        "source_too_large",
                        f"{file.shown} is longer than {most >> 20} MiB.",
                        hint="Give the address of the plain file itself.",
                    )
            return bytes(content), body.finish()

    listener.line(f"fetching {file.shown}")
    return patiently(once, listener)


def login_warning(file: RemoteFile) -> tuple[str, ...]:
    """What the user should know of a login that nothing asks for."""
    if file.url.startswith("file:") and file.password is not None:
        return (f"'username' and 'password' serve https and http only, not {file.shown}.",)
    return ()
