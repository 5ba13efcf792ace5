# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a registry holds: manifests, their digests, their platforms.

Source: OCI distribution specification 1.1, "Pull".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Optional

from ..errors import RegistryError
from ..network.failure import Failure
from ..oci.digest import is_digest, matches
from ..oci.manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    Content,
    ImageConfig,
    Manifest,
    config_of,
    parse,
    platform_of,
)
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..parallel import in_parallel
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


def missing(registry: Registry, held: Manifest) -> list[str]:
    """What the registry does not hold of what a pull of ``held`` needs, such as ``a layer of linux/arm64``.

    Looked at are the manifest of each platform and of each attestation, and all that these name: config and
    layers, but not those that are had from elsewhere. What was seen once is not asked for again.
    """
    named = {digest: str(platform) for platform, digest in held.platforms.items()}
    named.update(
        (attestation, f"the attestation of {named.get(subject, subject)}")
        for subject, attestation in held.attestations.items()
    )
    lost = []
    blobs: dict[str, str] = {}
    for (digest, whose), found in zip(
        named.items(), in_parallel(partial(_needed, registry, held.reference), named)
    ):
        if found is None:
            lost.append(whose)
            continue
        for blob, what in found.items():
            blobs.setdefault(blob, whose if digest not in held.platforms.values() else f"{what} of {whose}")
    there = in_parallel(partial(_holds_blob, registry, held.reference), blobs)
    return lost + list(dict.fromkeys(what for what, held_ in zip(blobs.values(), there) if not held_))


def config(registry: Registry, reference: Reference) -> ImageConfig:
    """What the image of one platform says for builds on it."""

    def look_up(repository: Repository) -> ImageConfig:
        _, held = content(repository, reference.digest or reference.tag or "latest")
        if held.config is None:
            return ImageConfig()
        body = _config(repository, held.config)
        with _reading(repository):
            return config_of(body)

    return registry.ask("read", reference, look_up, mirrors=True)


def _needed(registry: Registry, reference: Reference, named: str) -> Optional[Mapping[str, str]]:
    """What the manifest ``named`` needs, by digest; ``None`` where the registry does not hold it."""
    key = (reference.name, named)
    if key not in registry.seen:
        pinned = reference.with_digest(named)
        try:
            _, found = registry.ask("read", pinned, partial(content, wanted=named))
        except RegistryError as error:
            if error.code == "manifest_unknown":
                return None
            raise
        registry.seen[key] = found.blobs
    return registry.seen[key]


def _holds_blob(registry: Registry, reference: Reference, digest: str) -> bool:
    key = (reference.name, digest)

    def look_up(repository: Repository) -> bool:
        # Where it lies is told of what is there. A registry that knows no HEAD of blobs is not held to it.
        passing = (301, 302, 303, 307, 308, 400, 404, 405, 501)
        return repository.send("HEAD", f"blobs/{digest}", passing=passing, follow=False).status != 404

    if key not in registry.seen and registry.ask("look up", reference.with_digest(digest), look_up):
        registry.seen[key] = {}
    return key in registry.seen


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
    if held.config is not None:
        platform = _configured(repository, held.config)
        return {} if platform is None else {platform: named}
    unnamed = [entry.digest for entry in held.entries if entry.platform is None]
    if len(unnamed) > _MOST_UNNAMED_PLATFORMS:
        raise damaged(repository, "the index does not say the platforms of its images")
    found: dict[Platform, str] = {}
    for entry in held.entries:
        if entry.platform is not None:
            found.setdefault(entry.platform, entry.digest)
    for entry_digest in unnamed:
        # An index in an index is not looked into: the one could name the other.
        _, inner = content(repository, entry_digest)
        platform = None if inner.config is None else _configured(repository, inner.config)
        if platform is not None:
            found.setdefault(platform, entry_digest)
    return found


def _configured(repository: Repository, config: str) -> Optional[Platform]:
    """The platform that the config of an image names."""
    body = _config(repository, config)
    with _reading(repository):
        return platform_of(body)


def _config(repository: Repository, config: str) -> bytes:
    response = repository.send("GET", f"blobs/{config}")
    if not matches(response.body, config):
        raise damaged(repository, "the config is not that of its digest")
    return response.body


@contextmanager
def _reading(repository: Repository) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise damaged(repository, str(error)) from None
