# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Requests to the endpoints of registries, and why one did not do what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Optional, TypeVar
from urllib.parse import urljoin, urlsplit

from ..network.no_answer import NoAnswer, reason, retry_after
from ..network.tls import Tls
from ..oci.reference import is_registry_host
from ..policy import Reach
from ..retry import Patience, patiently
from .hosts import Endpoint, RegistryHosts

if TYPE_CHECKING:
    from urllib3 import HTTPHeaderDict

    from ..network.http import Carried

#: The most that is read of one answer, in bytes; containerd's limit for a manifest or config.
LONGEST_BODY = 8 << 20
# A name that does not resolve and a refused connection are mostly a typing error.
_CONNECT_RETRY_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 16.0
_UNUSABLE = "to an address that cannot be used"
_CODES = {
    "unreachable": "registry_unreachable",
    "certificate": "registry_tls",
    "tls": "registry_tls",
    "forbidden": "address_forbidden",
}

_T = TypeVar("_T")


class Failure(Exception):
    """Why an endpoint did not do what was asked; ``client`` makes the user's error of it.

    ``what`` is the end of a sentence. A failure with a ``pause`` may be gone later: it is how many
    seconds the server asks to wait at least. ``connected`` is whether there was a server at all.
    """

    def __init__(
        self,
        code: str,
        what: str,
        *,
        hint: str = "",
        status: Optional[int] = None,
        pause: Optional[float] = None,
        connected: bool = True,
    ) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.hint = hint
        self.status = status
        self.pause = pause
        self.connected = connected


@dataclass(frozen=True)
class Response:
    """An answer below 500. ``endpoint`` is who gave it: another than was asked after a redirect."""

    status: int
    headers: HTTPHeaderDict
    body: bytes
    endpoint: Endpoint


class Transport:
    """Requests to endpoints; may be used by several threads. See ``HttpClient`` for the parameters."""

    def __init__(self, hosts: RegistryHosts, timeout: float, reach: Reach) -> None:
        # Not before a registry is asked: it imports urllib3, which may be missing.
        from ..network.http import HttpClient

        self._hosts = hosts
        self._http = HttpClient(timeout=timeout, reach=reach)

    def close(self) -> None:
        """Close every connection and end every request and pause that is under way."""
        self._http.close()

    def patiently(self, call: Callable[[], _T], retry_for: float) -> _T:
        """``call()``, again after growing pauses while it fails temporarily, for ``retry_for`` seconds.

        Where no connection came about, not longer than three seconds. A server's Retry-After
        is obeyed; one that leads beyond the limit ends the tries at once.
        """
        patience = Patience(retry_for, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)

        def pause(failure: Failure) -> Optional[float]:
            limit = None if failure.connected else _CONNECT_RETRY_SECONDS
            return None if failure.pause is None else patience.pause(failure.pause, limit)

        return patiently(call, Failure, pause, wait=self._http.wait)

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
        answering = endpoint

        def onward(url: str) -> Tls:
            nonlocal answering
            answering = self._elsewhere(answering, url)
            return _tls(answering)

        url = f"{endpoint.scheme}://{endpoint.host}{target}"
        try:
            with self._http.request(method, url, headers, body, _tls(endpoint), onward) as answer:
                content = answer.read_all(LONGEST_BODY)
        except NoAnswer as error:
            raise _failure(answering, error) from None
        return _checked(Response(answer.status, answer.headers, content, answering))

    def locate(self, origin: Endpoint, location: str) -> tuple[Endpoint, str]:
        """The endpoint that an address in an answer of ``origin`` names, and path and query there.

        It is ``origin`` for an address on the same server. Raises ``Failure`` for one that cannot be used.
        """
        here = self._http.base(origin.scheme, origin.host, _tls(origin))
        with suppress(ValueError):
            url = urljoin(f"{here}/", location)
            parts = urlsplit(url)
            near = f"{parts.scheme}://{parts.netloc}" == here
            found = origin if near else self._elsewhere(origin, url)
            return found, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        raise Failure("registry_error", f"{origin.host} leads {_UNUSABLE}")

    def _elsewhere(self, origin: Endpoint, url: str) -> Endpoint:
        """The endpoint of another server that ``origin`` leads to. Raises ``ValueError``."""
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and is_registry_host(parts.netloc):
            found = self._hosts.elsewhere(origin, parts.scheme, parts.netloc)
            if found is not None:
                return found
        raise ValueError(_UNUSABLE)


def _tls(endpoint: Endpoint) -> Tls:
    return Tls(endpoint.certificates, endpoint.insecure)


def _failure(endpoint: Endpoint, error: NoAnswer) -> Failure:
    """The failure of a request that ``endpoint``, or a server that it led to, did not answer."""
    hint = error.hint
    if not hint and error.kind == "certificate":
        hint = (
            f"Put the CA's certificate into /etc/docker/certs.d/{endpoint.host}/ca.crt "
            "(BuildKit reads it there too), or correct the registry's certificate."
        )
    elif not hint and error.kind == "tls":
        hint = "If the registry speaks plain HTTP, list it in the Docker Engine's insecure-registries."
    elif not hint and error.kind == "unreachable":
        hint = "Check the registry's name and port, and that it runs."
    code = _CODES.get(error.kind, "registry_error")
    pause = 0.0 if error.temporary else None
    return Failure(code, error.what, hint=hint, pause=pause, connected=error.connected)


def _checked(response: Response) -> Response:
    if response.status == 429 or (response.status >= 500 and response.status != 501):
        busy = response.status == 429
        words = "too many requests" if busy else reason(response.status) or "error"
        raise Failure(
            "registry_error",
            f"{response.endpoint.host} answered {response.status} ({words})",
            hint="Wait and try again; a login often raises the limit." if busy else "Try again later.",
            status=response.status,
            pause=retry_after(response.headers),
        )
    return response
