# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a registry holds: manifests, their digests, their platforms.

Source: OCI distribution specification 1.1, "Pull".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

from ..errors import RegistryError
from ..network.failure import Failure
from ..oci.digest import is_digest, matches
from ..oci.manifest import INDEX_TYPES, MANIFEST_TYPES, Content, Manifest, parse, platform_of
from ..oci.platform import Platform
from ..oci.reference import Reference
from .client import Registry, Repository

# A registry answers 404 for a manifest whose type is not accepted.
_ACCEPT = {"Accept": ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))}
_MOST_UNNAMED_PLATFORMS = 32


def manifest(registry: Registry, reference: Reference, *, mirrors: bool = True) -> Manifest:
    """What ``reference`` names. Raises ``RegistryError`` ``manifest_unknown`` where there is nothing.

    Without ``mirrors`` only the registry itself is asked: so for images that are pushed
    there, which a mirror may not know yet.
    """

    def read(repository: Repository) -> Manifest:
        named, held = content(repository, reference.digest or reference.tag or "latest")
        platforms = _platforms(repository, named, held)
        return Manifest(reference, named, held.media_type, held.annotations, platforms, held.attestations)

    return registry.ask("read", reference, read, mirrors=mirrors)


def digest(registry: Registry, reference: Reference, *, mirrors: bool = True) -> Optional[str]:
    """The digest that ``reference`` names now, or ``None`` where there is nothing."""

    def look_up(repository: Repository) -> str:
        return named_digest(repository, reference.digest or reference.tag or "latest")

    try:
        return registry.ask("look up", reference, look_up, mirrors=mirrors)
    except RegistryError as error:
        if error.code == "manifest_unknown":
            return None
        raise


def missing(registry: Registry, index: Manifest) -> list[Platform]:
    """The platforms that an index lists and whose manifests the registry does not hold."""
    return [
        platform
        for platform, named in index.platforms.items()
        if named != index.digest
        and digest(registry, index.reference.with_digest(named), mirrors=False) is None
    ]


def content(repository: Repository, wanted: str) -> tuple[str, Content]:
    """A manifest, by tag or digest, and its digest, which is that of the bytes. Raises ``Failure``."""
    response = repository.send("GET", f"manifests/{wanted}", headers=_ACCEPT)
    named = wanted if ":" in wanted else response.headers.get("Docker-Content-Digest", "")
    if not named:
        named = f"sha256:{hashlib.sha256(response.body).hexdigest()}"
    if not matches(response.body, named):
        raise damaged(repository, "the content is not that of its digest")
    with _reading(repository):
        return named, parse(response.body, response.headers.get("Content-Type", ""))


def named_digest(repository: Repository, wanted: str) -> str:
    """The digest that a tag names, or a digest that is there. Raises ``Failure``."""
    response = repository.send("HEAD", f"manifests/{wanted}", headers=_ACCEPT)
    named = wanted if ":" in wanted else response.headers.get("Docker-Content-Digest", "")
    return named if is_digest(named) else content(repository, wanted)[0]


def damaged(repository: Repository, what: str) -> Failure:
    """The failure of an endpoint that gave ``what`` cannot be used."""
    return Failure(
        "registry_error",
        f"{repository.endpoint.host} gave something that cannot be used: {what}",
        hint="Push the image again, or use another one.",
    )


def _platforms(repository: Repository, named: str, held: Content) -> dict[Platform, str]:
    found: dict[Platform, str] = {}
    if held.config is not None:
        response = repository.send("GET", f"blobs/{held.config}")
        if not matches(response.body, held.config):
            raise damaged(repository, "the config is not that of its digest")
        with _reading(repository):
            platform = platform_of(response.body)
        if platform is not None:
            found[platform] = named
    unnamed = [entry.digest for entry in held.entries if entry.platform is None]
    if len(unnamed) > _MOST_UNNAMED_PLATFORMS:
        raise damaged(repository, "the index does not say the platforms of its images")
    for entry in held.entries:
        if entry.platform is not None:
            found.setdefault(entry.platform, entry.digest)
    for entry_digest in unnamed:
        _, entry_content = content(repository, entry_digest)
        for platform in _platforms(repository, entry_digest, entry_content):
            found.setdefault(platform, entry_digest)
    return found


@contextmanager
def _reading(repository: Repository) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise damaged(repository, str(error)) from None
