# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Images in registries: read, looked up, removed. Source: OCI distribution specification 1.1."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Callable, Optional, Protocol, TypeVar

from ..errors import RegistryError
from ..oci.digest import is_digest, matches
from ..oci.manifest import INDEX_TYPES, MANIFEST_TYPES, Content, Manifest, parse, platform_of
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..policy import Reach, everywhere
from ..secret import redact
from .auth import Authorizer, unauthorized
from .credentials import Credentials
from .hosts import Endpoint, RegistryHosts
from .transport import Failure, Response, Transport

if TYPE_CHECKING:
    from ..network.http import Carried

# A registry answers 404 for a manifest whose type is not accepted.
_ACCEPT = {"Accept": ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))}
# How registries say that they do not remove tags, or do not remove at all.
_NOT_REMOVED = (400, 404, 405, 501)
_NEXT_PAGE = re.compile(r'\s*<([^>]*)>\s*;\s*rel="?next"?')
_TAGS_A_PAGE, _MOST_PAGES = 1000, 1000
_MOST_UNNAMED_PLATFORMS = 32
_LONGEST_DETAIL = 200

_T = TypeVar("_T")


class Send(Protocol):
    """Sends one request to a repository, with the right to write there; raises ``Failure``.

    ``tail`` follows the repository's name, such as ``manifests/latest``, or is an address that an
    answer named. Answers with a status of 300 and more are failures, except those in ``passing``.
    """

    def __call__(
        self,
        method: str,
        tail: str,
        *,
        headers: Optional[Mapping[str, str]] = None,
        body: Carried = b"",
        passing: Collection[int] = (),
    ) -> Response: ...


class Registry:
    """A client for all registries; may be used by several threads.

    Temporary failures (a broken connection, 5xx, 429) are tried again with growing pauses
    for ``retry_for`` seconds; an address that gives no connection at all, only three times
    within three seconds. ``timeout`` (seconds) bounds each single answer. Where a registry has
    mirrors, each is asked once, and the registry itself when none has the image.

    Use it as a context manager: at the end its connections are closed, and requests that still
    run in other threads end with ``Cancelled``. So that an interrupt ends a pool of threads
    at once, enter the pool first and the registry inside it.

    Every method raises ``RegistryError`` with one of the codes ``registry_unreachable``,
    ``registry_unauthorized`` (no login, or a wrong one), ``registry_denied`` (the login lacks
    the right), ``manifest_unknown``, ``registry_tls`` and ``registry_error``.
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

    def manifest(self, reference: Reference, *, mirrors: bool = True) -> Manifest:
        """What ``reference`` names. Raises ``manifest_unknown`` where there is nothing.

        Without ``mirrors`` only the registry itself is asked: so for images that are pushed
        there, which a mirror may not know yet.
        """
        return self._ask("read", reference, mirrors, partial(self._manifest, reference))

    def digest(self, reference: Reference, *, mirrors: bool = True) -> Optional[str]:
        """The digest that ``reference`` names now, or ``None`` where there is nothing."""
        try:
            return self._ask("look up", reference, mirrors, partial(self._digest, reference))
        except RegistryError as error:
            if error.code == "manifest_unknown":
                return None
            raise

    def missing(self, manifest: Manifest) -> list[Platform]:
        """The platforms that an index lists and whose manifests the registry does not hold."""
        return [
            platform
            for platform, digest in manifest.platforms.items()
            if digest != manifest.digest
            and self.digest(manifest.reference.with_digest(digest), mirrors=False) is None
        ]

    def delete(self, reference: Reference) -> bool:
        """Remove a tag, or the manifest that a reference without a tag names by its digest.

        Whether it was there. A tag with a digest is removed only while it names that digest.
        Where the registry can only remove whole manifests, a tag's manifest is removed if no
        other tag needs it. Raises ``tag_shared`` if one does, ``delete_unsupported`` where the
        registry removes nothing.
        """
        return self._ask("remove", reference, False, partial(self._delete, reference))

    def check_push(self, reference: Reference) -> None:
        """Raise ``RegistryError`` if the repository of ``reference`` cannot be pushed to now.

        An upload is begun and cancelled; no image comes of it.
        """
        self._ask("push to", reference, False, partial(self._check_push, reference))

    def write(self, doing: str, reference: Reference, call: Callable[[Send], _T]) -> _T:
        """``call`` with what sends requests to the repository of ``reference``.

        While it fails temporarily it is called again, as a whole. ``doing`` starts the error's
        sentence, such as ``push to``.
        """

        def write(endpoint: Endpoint) -> _T:
            send = partial(self._send, endpoint, reference.repository)
            return self._transport.patiently(lambda: call(send), self._retry_for)

        return self._ask(doing, reference, False, write)

    def _ask(self, doing: str, reference: Reference, mirrors: bool, call: Callable[[Endpoint], _T]) -> _T:
        """``call`` with each endpoint in turn until one succeeds; the last one's failure is the error."""
        if reference.registry not in self._endpoints:
            self._endpoints[reference.registry] = self._hosts.pull(reference.registry)
        *others, own = self._endpoints[reference.registry]
        before: list[Failure] = []
        for endpoint in others if mirrors else ():
            try:
                return call(endpoint)
            except Failure as failure:
                before.append(failure)
        try:
            return call(own)
        except Failure as failure:
            raise _error(f"{doing} {reference.familiar}", failure, before) from None

    def _manifest(self, reference: Reference, endpoint: Endpoint) -> Manifest:
        digest, content = self._content(endpoint, reference.repository, _wanted(reference))
        return Manifest(
            reference,
            digest,
            content.media_type,
            content.annotations,
            self._platforms(endpoint, reference.repository, digest, content),
            content.attestations,
        )

    def _content(self, endpoint: Endpoint, repository: str, wanted: str) -> tuple[str, Content]:
        """A manifest and its digest, which is that of the bytes."""
        response = self._request(endpoint, "GET", repository, f"manifests/{wanted}", headers=_ACCEPT)
        digest = wanted if ":" in wanted else response.headers.get("Docker-Content-Digest", "")
        if not digest:
            digest = f"sha256:{hashlib.sha256(response.body).hexdigest()}"
        if not matches(response.body, digest):
            raise _damaged(endpoint, "the content is not that of its digest")
        with _reading(endpoint):
            return digest, parse(response.body, response.headers.get("Content-Type", ""))

    def _platforms(
        self, endpoint: Endpoint, repository: str, digest: str, content: Content
    ) -> dict[Platform, str]:
        found: dict[Platform, str] = {}
        if content.config is not None:
            response = self._request(endpoint, "GET", repository, f"blobs/{content.config}")
            if not matches(response.body, content.config):
                raise _damaged(endpoint, "the config is not that of its digest")
            with _reading(endpoint):
                platform = platform_of(response.body)
            if platform is not None:
                found[platform] = digest
        unnamed = [entry.digest for entry in content.entries if entry.platform is None]
        if len(unnamed) > _MOST_UNNAMED_PLATFORMS:
            raise _damaged(endpoint, "the index does not say the platforms of its images")
        for entry in content.entries:
            if entry.platform is not None:
                found.setdefault(entry.platform, entry.digest)
        for entry_digest in unnamed:
            _, entry_content = self._content(endpoint, repository, entry_digest)
            for platform in self._platforms(endpoint, repository, entry_digest, entry_content):
                found.setdefault(platform, entry_digest)
        return found

    def _digest(self, reference: Reference, endpoint: Endpoint) -> str:
        wanted = _wanted(reference)
        response = self._request(
            endpoint, "HEAD", reference.repository, f"manifests/{wanted}", headers=_ACCEPT
        )
        digest = reference.digest or str(response.headers.get("Docker-Content-Digest", ""))
        return digest if is_digest(digest) else self._content(endpoint, reference.repository, wanted)[0]

    def _tagged(self, endpoint: Endpoint, repository: str, tag: str) -> Optional[str]:
        try:
            return self._digest(Reference(endpoint.host, repository, tag), endpoint)
        except Failure as failure:
            if failure.code == "manifest_unknown":
                return None
            raise

    def _delete(self, reference: Reference, endpoint: Endpoint) -> bool:
        repository, tag, digest = reference.repository, reference.tag, reference.digest
        remove = partial(
            self._request, endpoint, "DELETE", repository, actions="delete", passing=_NOT_REMOVED
        )
        if tag:
            found = self._tagged(endpoint, repository, tag)
            if found is None or digest not in (None, found):
                return False
            digest = found
            # Tags have been removable by themselves since version 1.1 of the specification.
            removed = remove(f"manifests/{tag}").status < 300
            if removed and self._tagged(endpoint, repository, tag) is None:
                return True
            self._check_not_shared(endpoint, repository, tag, digest)
        response = remove(f"manifests/{digest}")
        if response.status in (400, 405, 501):
            raise Failure(
                "delete_unsupported",
                f"{endpoint.host} does not allow it",
                hint="Allow deletion in the registry's settings (for the distribution registry, "
                "storage.delete.enabled: true), or remove the image in the registry's own interface.",
                status=response.status,
            )
        return bool(tag) or response.status != 404

    def _check_not_shared(self, endpoint: Endpoint, repository: str, tag: str, digest: str) -> None:
        """Raise ``Failure`` where removing ``digest`` would take something from another tag."""
        sharing = []
        for other in self._tags(endpoint, repository):
            if other == tag:
                continue
            try:
                named, content = self._content(endpoint, repository, other)
            except Failure as failure:
                if failure.code == "manifest_unknown":
                    continue
                raise
            if digest == named or any(digest == entry.digest for entry in content.entries):
                sharing.append(other)
        if sharing:
            raise Failure(
                "tag_shared",
                f"{endpoint.host} can only remove the whole image {digest}, which is also that of "
                + ", ".join(sorted(sharing)),
                hint="Push something else to those tags or remove them first, or keep this one.",
            )

    def _tags(self, endpoint: Endpoint, repository: str) -> Iterator[str]:
        tail: Optional[str] = f"tags/list?n={_TAGS_A_PAGE}"
        for _ in range(_MOST_PAGES):
            if tail is None:
                return
            response = self._request(endpoint, "GET", repository, tail)
            try:
                tags = json.loads(response.body)["tags"] or ()
                yield from [tag for tag in tags if isinstance(tag, str)]
            except (ValueError, TypeError, KeyError, RecursionError):
                raise _damaged(endpoint, "the list of tags is not understood") from None
            following = _NEXT_PAGE.match(response.headers.get("Link", ""))
            # Only the query counts: the path is known, and some registries name a wrong one.
            tail = f"tags/list?{following.group(1).partition('?')[2]}" if following else None

    def _check_push(self, reference: Reference, endpoint: Endpoint) -> None:
        response = self._request(
            endpoint,
            "POST",
            reference.repository,
            "blobs/uploads/",
            actions="pull,push",
            passing=(404, 405),
        )
        if response.status in (404, 405):
            raise Failure(
                "registry_denied",
                f"{endpoint.host} takes no images for {reference.repository}",
                hint="Create the repository in the registry first, or correct the image's name.",
                status=response.status,
            )
        # Where the upload cannot be cancelled the registry forgets it by itself.
        with suppress(Failure):
            found, target = self._transport.locate(endpoint, response.headers.get("Location", ""))
            header = self._headers.get((endpoint, _scope(reference.repository, "pull,push")))
            if found == endpoint:
                self._transport.send(endpoint, "DELETE", target, {"Authorization": header} if header else {})

    def _request(
        self,
        endpoint: Endpoint,
        method: str,
        repository: str,
        tail: str,
        *,
        actions: str = "pull",
        headers: Optional[Mapping[str, str]] = None,
        passing: Collection[int] = (),
    ) -> Response:
        """The answer with a status below 300 or in ``passing``; patiently, except on a mirror."""
        send = partial(
            self._authorized,
            endpoint,
            method,
            f"{endpoint.path}/{repository}/{tail}",
            _scope(repository, actions),
            headers or {},
        )
        response = self._transport.patiently(send, 0.0 if endpoint.mirror else self._retry_for)
        return self._accepted(response, passing)

    def _send(
        self,
        endpoint: Endpoint,
        repository: str,
        method: str,
        tail: str,
        *,
        headers: Optional[Mapping[str, str]] = None,
        body: Carried = b"",
        passing: Collection[int] = (),
    ) -> Response:
        """See ``Send``."""
        found, target = endpoint, f"{endpoint.path}/{repository}/{tail}"
        if tail.startswith("/") or "://" in tail:
            found, target = self._transport.locate(endpoint, tail)
        if found != endpoint:
            response = self._transport.send(found, method, target, headers or {}, body)
        else:
            scope = _scope(repository, "pull,push")
            response = self._authorized(endpoint, method, target, scope, headers or {}, body)
        return self._accepted(response, passing)

    def _accepted(self, response: Response, passing: Collection[int]) -> Response:
        if response.status < 300 or response.status in passing:
            return response
        raise self._failure(response)

    def _authorized(
        self,
        endpoint: Endpoint,
        method: str,
        target: str,
        scope: str,
        headers: Mapping[str, str],
        body: Carried = b"",
    ) -> Response:
        """One answer, after a login where the endpoint itself asks for one."""
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
                self._failure(response)
                if login and header.startswith("Bearer ")
                else unauthorized(endpoint, login)
            )
        self._headers[key] = header
        return response

    def _failure(self, response: Response) -> Failure:
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
        retryable=failure.temporary,
    )


def _wanted(reference: Reference) -> str:
    return reference.digest or reference.tag or "latest"


def _scope(repository: str, actions: str) -> str:
    return f"repository:{repository}:{actions}"


def _detail(body: bytes) -> str:
    """The registry's own words, such as ``: denied: you may not``, or nothing."""
    try:
        message = json.loads(body)["errors"][0]["message"]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return ""
    words = "".join(character for character in str(message) if character.isprintable())
    return f": {words[:_LONGEST_DETAIL]}" if words else ""


def _damaged(endpoint: Endpoint, what: str) -> Failure:
    return Failure(
        "registry_error",
        f"{endpoint.host} gave something that cannot be used: {what}",
        hint="Push the image again, or use another one.",
    )


@contextmanager
def _reading(endpoint: Endpoint) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise _damaged(endpoint, str(error)) from None
