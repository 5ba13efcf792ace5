# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Manifests and indexes, read from the bytes a registry gives.

Source of the rules: OCI image specification 1.1, and Docker's older media types for the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from .digest import is_digest
from .platform import Platform
from .reference import Reference

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CONFIG_TYPES = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
# Layers that registries need not hold: who pulls has them from elsewhere (OCI image specification, layer.md).
_FOREIGN = ("nondistributable", "foreign")
# What BuildKit marks attestation manifests with.
_ATTESTATION = "vnd.docker.reference.type"


@dataclass(frozen=True)
class Manifest:
    """What a registry holds for a reference: an index, or the manifest of one image.

    ``annotations`` are those at the top. ``platforms`` maps each platform to the digest of
    its own manifest, attestations left out; it is empty for what is no image. ``attestations``
    maps digests of those manifests to the digests of the attestations about them.
    """

    reference: Reference
    digest: str
    media_type: str
    annotations: Mapping[str, str]
    platforms: Mapping[Platform, str]
    attestations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One image of an index. ``platform`` is ``None`` where the index does not say it."""

    digest: str
    platform: Optional[Platform]


@dataclass(frozen=True)
class Content:
    """A manifest or index as it was read: ``entries`` for an index, ``config`` (a digest) for an image.

    ``blobs`` are the digests of all that who pulls it takes from the registry, each with what it is there.
    """

    media_type: str
    annotations: Mapping[str, str]
    entries: tuple[Entry, ...] = ()
    config: Optional[str] = None
    blobs: Mapping[str, str] = field(default_factory=dict)
    attestations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageConfig:
    """What the config of an image says for builds on it.

    ``triggers`` are its ONBUILD instructions as written, ``environment`` its variables (ENV); and its
    ``labels``.
    """

    triggers: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


def parse(body: bytes, content_type: str) -> Content:
    """Read a manifest or index; ``content_type`` counts where the content does not name its own type.

    Raises ``ValueError`` with the end of a sentence.
    """
    content = _json_object(body)
    media_type = content.get("mediaType") or content_type.partition(";")[0].strip()
    lists, describes = "manifests" in content, "config" in content or "layers" in content
    # A document that can be read as both is an attack: CVE-2021-41190.
    if media_type in INDEX_TYPES and not describes:
        return Content(
            media_type,
            _texts(content.get("annotations")),
            _entries(content.get("manifests")),
            attestations=_attestations(content["manifests"]),
        )
    if media_type in MANIFEST_TYPES and not lists:
        config = content.get("config")
        digest = (
            _digest(config) if isinstance(config, dict) and config.get("mediaType") in _CONFIG_TYPES else None
        )
        return Content(media_type, _texts(content.get("annotations")), config=digest, blobs=_blobs(content))
    if content.get("schemaVersion") == 1:
        raise ValueError("it is in the old format 1 that BuildKit no longer reads")
    raise ValueError("it is neither an index nor the manifest of an image")


def config_of(body: bytes) -> ImageConfig:
    """Read the config of an image. Raises ``ValueError`` as ``parse`` does."""
    running = _json_object(body).get("config")
    if not isinstance(running, dict):
        return ImageConfig()
    variables = (text.partition("=") for text in _listed(running.get("Env")))
    return ImageConfig(
        tuple(_listed(running.get("OnBuild"))),
        {name: value for name, equals, value in variables if equals},
        _texts(running.get("Labels")),
    )


def _listed(value: object) -> list[str]:
    """The texts of a list."""
    return [_whole(text) for text in value if isinstance(text, str)] if isinstance(value, list) else []


def platform_of(config: bytes) -> Optional[Platform]:
    """The platform that an image's config names. Raises ``ValueError`` with the end of a sentence."""
    return _platform(_json_object(config))


def _entries(manifests: Any) -> tuple[Entry, ...]:
    if not isinstance(manifests, list):
        raise ValueError("its list of manifests is missing")
    found = []
    for descriptor in manifests:
        if not isinstance(descriptor, dict):
            raise ValueError("its list of manifests is damaged")
        if descriptor.get("mediaType") not in MANIFEST_TYPES or _ATTESTATION in _texts(
            descriptor.get("annotations")
        ):
            continue
        digest, named = _digest(descriptor), descriptor.get("platform")
        if named is None:
            found.append(Entry(digest, None))
        elif isinstance(named, dict):
            platform = _platform(named)
            if platform is not None:
                found.append(Entry(digest, platform))
    return tuple(found)


def _attestations(descriptors: list[Any]) -> dict[str, str]:
    """The attestation manifests of an index that was read, by what they are about (BuildKit's layout)."""
    found = {}
    for descriptor in descriptors:
        subject = _texts(descriptor.get("annotations")).get(_ATTESTATION.replace("type", "digest"))
        if subject is not None and is_digest(subject):
            found[subject] = _digest(descriptor)
    return found


def _blobs(manifest: Mapping[str, Any]) -> dict[str, str]:
    """What the manifest of an image names, by digest: a layer, or the config."""
    layers = manifest.get("layers")
    named = [("a layer", layer) for layer in (layers if isinstance(layers, list) else ())]
    found = {}
    for what, descriptor in (*named, ("the config", manifest.get("config"))):
        if not isinstance(descriptor, dict) or descriptor.get("urls"):
            continue
        digest, media_type = descriptor.get("digest"), str(descriptor.get("mediaType"))
        if isinstance(digest, str) and is_digest(digest) and not any(word in media_type for word in _FOREIGN):
            found[digest] = what
    return found


def _digest(descriptor: Mapping[str, Any]) -> str:
    digest = descriptor.get("digest")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ValueError("a digest in it is damaged")
    return digest


def _platform(named: Mapping[str, Any]) -> Optional[Platform]:
    parts = [named.get("os"), named.get("architecture"), named.get("variant") or None]
    if "unknown" in parts or parts[0] is None or parts[1] is None:
        return None
    try:
        return Platform.parse("/".join(str(part) for part in parts if part is not None))
    except ValueError:
        return None


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(content, dict):
        raise ValueError("it is not a JSON object")
    return content


def _texts(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {_whole(key): _whole(text) for key, text in value.items() if isinstance(text, str)}


def _whole(text: str) -> str:
    """``text`` with a ``?`` for each half of a UTF-16 pair, which JSON can write and no file can hold."""
    return text.encode("utf-8", "replace").decode()
