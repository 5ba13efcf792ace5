# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Requests to the endpoints of registries, without a login of their own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from ..network.failure import Failure, reason, retry_after
from ..network.tls import Tls
from ..oci.reference import is_registry_host
from ..policy import Reach
from .hosts import Endpoint, RegistryHosts

if TYPE_CHECKING:
    from urllib3 import HTTPHeaderDict

    from ..network.http import Carried

#: The most that is read of one answer, in bytes; containerd's limit for a manifest or config.
LONGEST_BODY = 8 << 20
# Requests at a time, whoever asks: images are planned side by side, and what each needs is looked at so too.
_MOST_AT_ONCE = 16
_UNUSABLE = "to an address that cannot be used"
# What to do about some failures that the HTTP layer names.
_HINTS = {
    "certificate": "Put the CA's certificate into /etc/docker/certs.d/{host}/ca.crt "
    "(BuildKit reads it there too), or correct the registry's certificate.",
    "tls": "If the registry speaks plain HTTP, list it in the Docker Engine's insecure-registries.",
    "unreachable": "Check the registry's name and port, and that it runs.",
}


@dataclass(frozen=True)
class Response:
    """An answer below 500. ``endpoint`` is who gave it: another than was asked after a redirect.

    ``speaker`` is the same, with the scheme that was spoken, and as near as it turned out to be.
    """

    status: int
    headers: HTTPHeaderDict
    body: bytes
    endpoint: Endpoint
    speaker: Endpoint


@dataclass(frozen=True)
class Place:
    """Where a request goes: ``target``, a path with its query, at an ``endpoint``."""

    endpoint: Endpoint
    target: str


class Transport:
    """Requests to endpoints; may be used by several threads. See ``HttpClient`` for the parameters."""

    def __init__(self, hosts: RegistryHosts, timeout: float, reach: Reach) -> None:
        # Not before a registry is asked: it imports urllib3, which may be missing.
        from ..network.http import HttpClient

        self._hosts = hosts
        self._open = threading.BoundedSemaphore(_MOST_AT_ONCE)
        self.http = HttpClient(timeout=timeout, reach=reach)

    def send(
        self,
        place: Place,
        method: str,
        headers: Mapping[str, str],
        body: Carried = b"",
        *,
        follow: bool = True,
    ) -> Response:
        """One request; redirects are followed unless ``follow`` says otherwise.

        An Authorization header never follows to another host. Raises ``Failure`` also for
        429 and 5xx.
        """
        answering = place.endpoint

        def onward(current: str, url: str) -> Tls:
            nonlocal answering
            answering = self._elsewhere(replace(answering, scheme=urlsplit(current).scheme), url)
            return _tls(answering)

        url = f"{answering.scheme}://{answering.host}{place.target}"
        request = self.http.request(method, url, headers, body, _tls(answering), onward if follow else None)
        try:
            with self._open, request as answer:
                content = answer.read_all(LONGEST_BODY)
        except Failure as failure:
            failure.hint = failure.hint or _HINTS.get(failure.code, "").format(host=answering.host)
            raise
        nearest = min(answering.nearest, answer.nearest)
        speaker = replace(answering, scheme=urlsplit(answer.url).scheme, nearest=nearest)
        return _checked(Response(answer.status, answer.headers, content, answering, speaker))

    def locate(self, response: Response, location: str) -> Place:
        """Where an address in a ``response`` leads: to its own endpoint where it names the same server.

        Raises ``Failure`` for an address that cannot be used.
        """
        speaker = response.speaker
        here = f"{speaker.scheme}://{speaker.host}"
        try:
            url = urljoin(f"{here}/", location)
            parts = urlsplit(url)
            near = f"{parts.scheme}://{parts.netloc}" == here
            found = response.endpoint if near else self._elsewhere(speaker, url)
        except ValueError as error:
            raise Failure("registry_error", f"{speaker.host} leads {error}") from None
        return Place(found, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))

    def _elsewhere(self, origin: Endpoint, url: str) -> Endpoint:
        """The endpoint of another server that ``origin`` leads to. Raises ``ValueError``."""
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and is_registry_host(parts.netloc):
            found = self._hosts.elsewhere(origin, parts.scheme, parts.netloc)
            if found is not None:
                return found
        raise ValueError(_UNUSABLE)


def _tls(endpoint: Endpoint) -> Tls:
    return Tls(endpoint.certificates, endpoint.insecure, nearest=endpoint.nearest)


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
