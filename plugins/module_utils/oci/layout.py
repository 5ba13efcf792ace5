# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""An image on disk, as OCI tools or ``docker save`` write it.

Sources: OCI image specification 1.1 (image layout), and moby ``image/tarexport`` for the older
form of ``docker save`` (``manifest.json`` that names a config and uncompressed layers).
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ..errors import SourceError
from ..text import printable
from .digest import digest_of, digest_of_file, is_digest, matches
from .manifest import INDEX_TYPES, MANIFEST_TYPES, parse, platform_of
from .platform import Platform

_OCI_INDEX, _OCI_MANIFEST = INDEX_TYPES[0], MANIFEST_TYPES[0]
_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
_NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_ABOUT = "vnd.docker.reference.digest"
_LONGEST_MANIFEST = 8 << 20

#: From a path in the layout to that on disk; raises ``SourceError`` for one that leads out of it.
Find = Callable[[str], str]


@dataclass(frozen=True)
class StoredManifest:
    """The manifest of one image (or of an attestation): its bytes, and the files of its blobs by digest."""

    digest: str
    media_type: str
    body: bytes
    blobs: Mapping[str, str]
    platform: Optional[Platform] = None


@dataclass(frozen=True)
class StoredImage:
    """What is pushed under a tag: ``body``, an index of ``manifests`` or the single manifest itself."""

    digest: str
    media_type: str
    body: bytes
    manifests: tuple[StoredManifest, ...]

    @property
    def platforms(self) -> dict[Platform, str]:
        """The digest of each platform's manifest."""
        return {m.platform: m.digest for m in self.manifests if m.platform is not None}

    def only(self, platforms: Collection[Platform]) -> StoredImage:
        """The image for ``platforms`` alone, which it must have; itself where that is all of them."""
        if set(platforms) == set(self.platforms):
            return self
        kept = {self.platforms[platform] for platform in platforms}
        return _filtered(self, kept)


def read_image(find: Find) -> StoredImage:
    """The image in a layout.

    Raises ``SourceError`` ``archive_invalid`` for one that is damaged or holds several images.
    """
    try:
        if os.path.isfile(find("oci-layout")) and os.path.isfile(find("index.json")):
            return _read_layout(find)
        return _read_docker(find)
    except (KeyError, TypeError, AttributeError, IndexError):
        raise _damaged("its manifest is damaged") from None
    except (ValueError, RecursionError) as error:
        raise _damaged(str(error)) from None


def _read_layout(find: Find) -> StoredImage:
    body = _read(find("index.json"))
    entries = {entry["digest"]: entry for entry in json.loads(body)["manifests"]}
    if not entries:
        raise ValueError("it holds no image")
    if len(entries) == 1:
        (entry,) = entries.values()
        digest, media_type = str(entry["digest"]), str(entry["mediaType"])
        content = _read_blob(find, digest)
        if content is None:
            raise ValueError(f"it lacks {digest}")
        if media_type in INDEX_TYPES:
            return _read_index(find, content, media_type)
        manifest = _read_manifest(find, entry)
        if manifest is None:
            raise ValueError(f"it lacks parts of {digest}")
        return StoredImage(digest, media_type, content, (manifest,))
    names = {_name(entry) for entry in entries.values()}
    platforms = [json.dumps(entry.get("platform"), sort_keys=True) for entry in entries.values()]
    if len(names) > 1 or "null" in platforms or len(set(platforms)) < len(platforms):
        raise ValueError(f"it holds several images ({', '.join(sorted(names))}), and one is wanted")
    return _read_index(find, body, _OCI_INDEX)


def _read_index(find: Find, body: bytes, media_type: str) -> StoredImage:
    parse(body, media_type)
    manifests, complete = [], True
    for entry in json.loads(body)["manifests"]:
        if entry["mediaType"] in INDEX_TYPES:
            raise ValueError("its index names another index")
        manifest = _read_manifest(find, entry)
        if manifest is not None:
            manifests.append(manifest)
        complete = complete and manifest is not None
    image = StoredImage(digest_of(body), media_type, body, tuple(manifests))
    if not image.platforms:
        raise ValueError("it holds no platform of its image")
    # docker save leaves out what the engine never pulled.
    return image if complete else _filtered(image, set(image.platforms.values()))


def _read_manifest(find: Find, entry: Mapping[str, Any]) -> Optional[StoredManifest]:
    """The manifest that ``entry`` describes, or ``None`` where the layout lacks a part of it."""
    digest, media_type = str(entry["digest"]), str(entry["mediaType"])
    body = _read_blob(find, digest)
    if body is None:
        return None
    content = json.loads(body)
    blobs = {}
    for descriptor in (content["config"], *(content["layers"] or ())):
        path = _blob(find, str(descriptor["digest"]))
        if os.path.isfile(path):
            blobs[str(descriptor["digest"])] = path
        elif not descriptor.get("urls"):
            return None
    platform = None
    if _ABOUT not in (entry.get("annotations") or {}):
        config = parse(body, media_type).config
        platform = platform_of(_read(blobs[config])) if config else None
    return StoredManifest(digest, media_type, body, blobs, platform)


def _read_docker(find: Find) -> StoredImage:
    entries = json.loads(_read(find("manifest.json")))
    if len(entries) != 1:
        names = sorted(str((entry.get("RepoTags") or ["an image without a name"])[0]) for entry in entries)
        raise ValueError(f"it holds several images ({', '.join(names)}), and one is wanted")
    config = find(str(entries[0]["Config"]))
    text = _read(config)
    diff_ids = list(json.loads(text)["rootfs"].get("diff_ids") or ())
    paths = [find(str(name)) for name in entries[0]["Layers"] or ()]
    if len(paths) != len(diff_ids):
        raise ValueError("its config has another number of layers")
    blobs, layers = {digest_of(text): config}, []
    for path, diff_id in zip(paths, diff_ids):
        digest, start, size = _describe_file(path)
        packed = start.startswith(b"\x1f\x8b")
        if not packed and digest != diff_id:
            raise ValueError(f"the layer {diff_id} has another content")
        blobs[digest] = path
        media_type = f"{_OCI_LAYER}+gzip" if packed else _OCI_LAYER
        layers.append({"mediaType": media_type, "digest": digest, "size": size})
    body = _json(
        {
            "schemaVersion": 2,
            "mediaType": _OCI_MANIFEST,
            "config": {"mediaType": _OCI_CONFIG, "digest": digest_of(text), "size": len(text)},
            "layers": layers,
        }
    )
    manifest = StoredManifest(digest_of(body), _OCI_MANIFEST, body, blobs, platform_of(text))
    return StoredImage(manifest.digest, _OCI_MANIFEST, body, (manifest,))


def _filtered(image: StoredImage, kept: Collection[str]) -> StoredImage:
    """The index of ``image`` with the manifests ``kept`` (digests) and what is held of their attestations."""
    content = json.loads(image.body)
    held = {manifest.digest for manifest in image.manifests}

    def stays(entry: Mapping[str, Any]) -> bool:
        about = (entry.get("annotations") or {}).get(_ABOUT, entry["digest"])
        return about in kept and entry["digest"] in held

    content["manifests"] = [entry for entry in content["manifests"] if stays(entry)]
    digests = {entry["digest"] for entry in content["manifests"]}
    body = _json(content)
    manifests = tuple(manifest for manifest in image.manifests if manifest.digest in digests)
    return StoredImage(digest_of(body), image.media_type, body, manifests)


def _blob(find: Find, digest: str) -> str:
    if not is_digest(digest):
        raise ValueError("a digest in it is damaged")
    algorithm, _, value = digest.partition(":")
    return find(f"blobs/{algorithm}/{value}")


def _read_blob(find: Find, digest: str) -> Optional[bytes]:
    path = _blob(find, digest)
    if not os.path.isfile(path):
        return None
    content = _read(path)
    if not matches(content, digest):
        raise ValueError(f"{digest} has another content")
    return content


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_LONGEST_MANIFEST + 1)
    except OSError as error:
        raise ValueError(f"{os.path.basename(path)} cannot be read: {error.strerror}") from None
    if len(content) > _LONGEST_MANIFEST:
        raise ValueError(f"{os.path.basename(path)} is too long")
    return content


def _describe_file(path: str) -> tuple[str, bytes, int]:
    """The digest of a file, its first bytes, and its length."""
    try:
        with open(path, "rb") as file:
            start = file.read(4)
        return digest_of_file(path), start, os.path.getsize(path)
    except OSError as error:
        raise ValueError(f"{os.path.basename(path)} cannot be read: {error.strerror}") from None


def _json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def _name(entry: Mapping[str, Any]) -> str:
    annotations = entry.get("annotations") or {}
    return str(next((annotations[name] for name in _NAMES if name in annotations), "one without a name"))


def _damaged(why: str) -> SourceError:
    return SourceError(
        "archive_invalid",
        f"The archive cannot be pushed as an image: {printable(why)}.",
        hint="Write it anew: docker save IMAGE, or docker buildx build --output type=oci,dest=FILE.",
    )
