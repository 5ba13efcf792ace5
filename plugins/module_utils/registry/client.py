# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A client for registries: which endpoint is asked, with which login, and what a refusal means.

What is asked of them is in ``read``, ``push`` and ``delete``. Source: OCI distribution specification 1.1.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Callable, Optional, TypeVar

from ..errors import RegistryError
from ..network.failure import Failure
from ..oci.reference import Reference
from ..policy import Reach, everywhere
from ..retry import Patience, patiently
from ..secret import Secret, redact
from .auth import Authorizer
from .credentials import Credentials
from .hosts import Endpoint, RegistryHosts
from .transport import Place, Response, Transport
from .words import words

if TYPE_CHECKING:
    from ..network.http import Carried

# What one operation, such as reading an index with what it lists, may ask for and read (in bytes).
_MOST_REQUESTS, _MOST_BYTES = 256, 64 << 20
# A name that does not resolve and a refused connection are mostly a typing error.
_CONNECT_RETRY_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 16.0
# What failures of the HTTP layer are called to the user.
_CODES = {
    "unreachable": "registry_unreachable",
    "certificate": "registry_tls",
    "tls": "registry_tls",
    "forbidden": "address_forbidden",
    "redirect": "registry_error",
    "too_long": "registry_error",
}

_T = TypeVar("_T")


class Registry:
    """A client for all registries; may be used by several threads.

    Temporary failures (a broken connection, 5xx, 429) are tried again with growing pauses
    for ``retry_for`` seconds; an address that gives no connection at all, only three times
    within three seconds. ``timeout`` (seconds) bounds each single answer. Where a registry has
    mirrors, each is asked once, and the registry itself when none has the image. Only addresses
    that ``reach`` allows are connected to.

    Use it as a context manager: at the end its connections are closed, and requests that still
    run in other threads end with ``Cancelled``. So that an interrupt ends a pool of threads
    at once, enter the pool first and the registry inside it.

    Whatever is asked raises ``RegistryError`` with one of the codes ``registry_unreachable``,
    ``registry_unauthorized`` (no login, or a wrong one), ``registry_denied`` (the login lacks
    the right), ``manifest_unknown``, ``registry_tls``, ``address_forbidden`` and ``registry_error``.
    """

    def __init__(
        self,
        hosts: RegistryHosts,
        credentials: Credentials,
        *,
        retry_for: float = 60.0,
        timeout: float = 30.0,
        reach: Reach = everywhere,
    ) -> None:
        self._hosts = hosts
        self._credentials = credentials
        self._retry_for = retry_for
        self._transport = Transport(hosts, timeout, reach)
        self._authorizer = Authorizer(self._transport, credentials)
        self._endpoints: dict[str, tuple[Endpoint, ...]] = {}
        #: What was seen to be held, by repository and digest, and what that needs (see ``read.missing``).
        self.seen: dict[tuple[str, str], Mapping[str, str]] = {}

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; requests under way end with ``Cancelled``."""
        self._transport.http.close()

    def ask(
        self,
        doing: str,
        reference: Reference,
        call: Callable[[Repository], _T],
        *,
        actions: str = "pull",
        mirrors: bool = False,
    ) -> _T:
        """``call`` with the repository of ``reference``, at each endpoint in turn until one succeeds.

        It is called as a whole again while it raises a ``Failure`` that may pass; for a mirror it is not.
        The failure of the last endpoint, the registry itself, is the error. ``doing`` starts its sentence,
        such as ``push to``; ``actions`` are the rights that it takes. Without ``mirrors`` only the registry
        itself is asked.
        """
        if reference.registry not in self._endpoints:
            self._endpoints[reference.registry] = self._hosts.pull(reference.registry)
        endpoints = self._endpoints[reference.registry]
        failures: list[Failure] = []
        for endpoint in endpoints if mirrors else endpoints[-1:]:
            try:
                return self._patiently(
                    partial(self._once, endpoint, reference.repository, actions, call),
                    0.0 if endpoint.mirror else self._retry_for,
                )
            except Failure as failure:
                failures.append(failure)
        raise _error(f"{doing} {reference.familiar}", failures, self._authorizer.secrets)

    def _once(self, endpoint: Endpoint, name: str, actions: str, call: Callable[[Repository], _T]) -> _T:
        return call(Repository(endpoint, name, actions, self._transport, self._authorizer))

    def _patiently(self, call: Callable[[], _T], retry_for: float) -> _T:
        """``call()``, again after growing pauses while it fails temporarily, for ``retry_for`` seconds.

        Where no connection came about, not longer than three seconds. A server's Retry-After
        is obeyed; one that leads beyond the limit ends the tries at once.
        """
        patience = Patience(retry_for, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)

        def pause(failure: Failure) -> Optional[float]:
            limit = None if failure.connected else _CONNECT_RETRY_SECONDS
            return None if failure.pause is None else patience.pause(failure.pause, limit)

        return patiently(call, Failure, pause, wait=self._transport.http.wait)


class _Budget:
    """What is left of the requests and the bytes of one operation."""

    def __init__(self) -> None:
        self._requests, self._bytes = _MOST_REQUESTS, _MOST_BYTES

    def spend(self, host: str, *, requests: int = 0, received: int = 0) -> None:
        """Count what was asked or read. Raises ``Failure`` where it is more than there was left."""
        self._requests -= requests
        self._bytes -= received
        if self._requests < 0 or self._bytes < 0:
            raise Failure(
                "registry_error",
                f"{host} needs more than {_MOST_REQUESTS} requests or {_MOST_BYTES >> 20} MiB to tell it",
                hint="Look at what the registry holds under this name.",
            )


@dataclass(frozen=True)
class Repository:
    """A repository, by its ``name``, at one of the endpoints of its registry, to do ``actions`` there.

    It serves one try of an operation, which may ask for so much and no more.
    """

    endpoint: Endpoint
    name: str
    actions: str
    _transport: Transport
    _authorizer: Authorizer
    _budget: _Budget = field(default_factory=_Budget, compare=False)

    def send(
        self,
        method: str,
        tail: str,
        *,
        headers: Optional[Mapping[str, str]] = None,
        body: Carried = b"",
        passing: Collection[int] = (),
        follow: bool = True,
    ) -> Response:
        """The answer to one request. Raises ``Failure``.

        ``tail`` follows the repository's name, such as ``manifests/latest``. Statuses of 300 and more are
        failures, except those in ``passing``. Redirects are followed unless ``follow`` says otherwise.
        """
        place = Place(self.endpoint, f"{self.endpoint.path}/{self.name}/{tail}")
        response = self._send(place, method, headers or {}, body, follow)
        return response if response.status in passing else self._accepted(response)

    def lead(self, answer: Response, location: str) -> Place:
        """Where the address ``location`` in an ``answer`` leads. Raises ``Failure``."""
        return self._transport.locate(answer, location)

    def send_to(
        self,
        method: str,
        place: Place,
        *,
        headers: Optional[Mapping[str, str]] = None,
        body: Carried = b"",
    ) -> Response:
        """The answer to one request for what an answer led to; another server gets no login."""
        return self._accepted(self._send(place, method, headers or {}, body, True))

    def _send(
        self, place: Place, method: str, headers: Mapping[str, str], body: Carried, follow: bool
    ) -> Response:
        self._budget.spend(place.endpoint.host, requests=1)
        if place.endpoint == self.endpoint:
            scope = f"repository:{self.name}:{self.actions}"
            response = self._authorizer.send(place, method, scope, headers, body, follow=follow)
        else:
            response = self._transport.send(place, method, headers, body, follow=follow)
        self._budget.spend(place.endpoint.host, received=len(response.body))
        return response

    def _accepted(self, response: Response) -> Response:
        if response.status < 300:
            return response
        raise self._refusal(response)

    def _refusal(self, response: Response) -> Failure:
        """What the status of an answer means to the user."""
        status, host = response.status, response.endpoint.host
        if status == 404:
            what, hint = f"{host} has no such image", "Check its name and tag."
            return Failure("manifest_unknown", what, hint, status)
        detail = words(response.body, self._authorizer.secrets)
        if status in (401, 403):
            hint = f"Check that the account may do this on {host}, or that the repository exists."
            return Failure("registry_denied", f"{host} does not allow it{detail}", hint, status)
        return Failure("registry_error", f"{host} answered {status}{detail}", status=status)


def _error(doing: str, failures: Sequence[Failure], secrets: Iterable[Secret]) -> RegistryError:
    """The user's error: that of the registry itself, the last, and what its mirrors said before."""
    *before, failure = failures
    # A registry names hosts too, and so could tell something by their names.
    what = redact(failure.what + "".join(f" (its mirror before: {other.what})" for other in before), secrets)
    hint = failure.hint
    if failure.code == "unreachable" and any(other.code == "manifest_unknown" for other in before):
        hint = "Check the image's name and tag; where its registry is out of reach, the mirror must hold it."
    return RegistryError(
        _CODES.get(failure.code, failure.code),
        f"Cannot {doing}: {what}.",
        hint=hint,
        status=failure.status,
        retryable=failure.pause is not None,
    )
