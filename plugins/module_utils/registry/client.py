# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A client for registries: which endpoint is asked, with which login, and what a refusal means.

What is asked of them is in ``read``, ``push`` and ``delete``. Source: OCI distribution specification 1.1.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Callable, Optional, TypeVar

from ..errors import RegistryError
from ..oci.reference import Reference
from ..policy import Reach, everywhere
from ..secret import redact
from .auth import Authorizer, unauthorized
from .credentials import Credentials
from .hosts import Endpoint, RegistryHosts
from .transport import Failure, Response, Transport

if TYPE_CHECKING:
    from ..network.http import Carried

_LONGEST_DETAIL = 200

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
        self._headers: dict[tuple[Endpoint, str], str] = {}
        self._endpoints: dict[str, tuple[Endpoint, ...]] = {}

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; requests under way end with ``Cancelled``."""
        self._transport.close()

    def ask(
        self, doing: str, reference: Reference, call: Callable[[Repository], _T], *, mirrors: bool = False
    ) -> _T:
        """``call`` with the repository of ``reference``, at each endpoint in turn until one succeeds.

        The failure of the last one, the registry itself, is the error. ``doing`` starts its sentence,
        such as ``push to``. Without ``mirrors`` only the registry itself is asked.
        """
        if reference.registry not in self._endpoints:
            self._endpoints[reference.registry] = self._hosts.pull(reference.registry)
        *others, own = self._endpoints[reference.registry]
        before: list[Failure] = []
        for endpoint in others if mirrors else ():
            try:
                return call(Repository(self, endpoint, reference.repository))
            except Failure as failure:
                before.append(failure)
        try:
            return call(Repository(self, own, reference.repository))
        except Failure as failure:
            raise _error(f"{doing} {reference.familiar}", failure, before) from None

    def patiently(self, endpoint: Endpoint, call: Callable[[], _T]) -> _T:
        """``call()``, again while it fails temporarily; on a mirror, once."""
        return self._transport.patiently(call, 0.0 if endpoint.mirror else self._retry_for)

    def send(
        self,
        endpoint: Endpoint,
        method: str,
        location: str,
        scope: str,
        headers: Mapping[str, str],
        body: Carried = b"",
    ) -> Response:
        """One answer, after a login where the endpoint itself asks for one. Raises ``Failure``.

        ``location`` is a path there, or an address that an answer named: another server gets no login.
        """
        found, target = self._transport.locate(endpoint, location)
        if found != endpoint:
            return self._transport.send(found, method, target, headers, body)
        key = (endpoint, scope)
        header = self._headers.get(key)
        response = self._transport.send(
            endpoint, method, target, {**headers, "Authorization": header} if header else headers, body
        )
        if response.status != 401 or response.endpoint != endpoint:
            return response
        # A header that was good before may have expired: it is made anew.
        header = self._authorizer.header(response, scope)
        response = self._transport.send(endpoint, method, target, {**headers, "Authorization": header}, body)
        if response.status == 401 and response.endpoint == endpoint:
            login = self._authorizer.login(endpoint)
            raise (
                self.failure(response)
                if login and header.startswith("Bearer ")
                else unauthorized(endpoint, login)
            )
        self._headers[key] = header
        return response

    def failure(self, response: Response) -> Failure:
        """What the status of an answer means to the user."""
        status, host = response.status, response.endpoint.host
        detail = redact(_detail(response.body), self._credentials.secrets)
        if status == 404:
            return Failure(
                "manifest_unknown",
                f"{host} has no such image",
                hint="Check its name and tag.",
                status=status,
            )
        if status in (401, 403):
            return Failure(
                "registry_denied",
                f"{host} does not allow it{detail}",
                hint=f"Check that the account may do this on {host}, or that the repository exists.",
                status=status,
            )
        return Failure("registry_error", f"{host} answered {status}{detail}", status=status)


class Repository:
    """A repository, by its ``name``, at one of the endpoints of its registry."""

    def __init__(self, registry: Registry, endpoint: Endpoint, name: str) -> None:
        self.endpoint = endpoint
        self.name = name
        self._registry = registry

    def patiently(self, call: Callable[[], _T]) -> _T:
        """``call()``, as a whole again while it fails temporarily."""
        return self._registry.patiently(self.endpoint, call)

    def request(
        self,
        method: str,
        tail: str,
        *,
        actions: str = "pull",
        headers: Optional[Mapping[str, str]] = None,
        passing: Collection[int] = (),
    ) -> Response:
        """``send``, patiently."""
        return self.patiently(
            partial(self.send, method, tail, actions=actions, headers=headers, passing=passing)
        )

    def send(
        self,
        method: str,
        tail: str,
        *,
        actions: str = "pull",
        headers: Optional[Mapping[str, str]] = None,
        body: Carried = b"",
        passing: Collection[int] = (),
    ) -> Response:
        """The answer to one request, with the right to do ``actions``. Raises ``Failure``.

        ``tail`` follows the repository's name, such as ``manifests/latest``, or is an address that an
        answer named. Statuses of 300 and more are failures, except those in ``passing``.
        """
        named = tail.startswith("/") or "://" in tail
        location = tail if named else f"{self.endpoint.path}/{self.name}/{tail}"
        scope = f"repository:{self.name}:{actions}"
        response = self._registry.send(self.endpoint, method, location, scope, headers or {}, body)
        if response.status < 300 or response.status in passing:
            return response
        raise self._registry.failure(response)


def _error(doing: str, failure: Failure, before: Sequence[Failure]) -> RegistryError:
    """The user's error; ``before`` is what the mirrors said."""
    mirrors = "".join(f" (its mirror before: {other.what})" for other in before)
    hint = failure.hint
    if failure.code == "registry_unreachable" and any(other.code == "manifest_unknown" for other in before):
        hint = "Check the image's name and tag; where its registry is out of reach, the mirror must hold it."
    return RegistryError(
        failure.code,
        f"Cannot {doing}: {failure.what}{mirrors}.",
        hint=hint,
        status=failure.status,
        retryable=failure.pause is not None,
    )


def _detail(body: bytes) -> str:
    """The registry's own words, such as ``: denied: you may not``, or nothing."""
    try:
        message = json.loads(body)["errors"][0]["message"]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return ""
    words = "".join(character for character in str(message) if character.isprintable())
    return f": {words[:_LONGEST_DETAIL]}" if words else ""
