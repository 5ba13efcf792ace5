# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One image in a registry: what it is, and its removal. Behind the modules of that name."""

from __future__ import annotations

from typing import Any, Optional

from ..build.access import Access
from ..document.check import check_registry
from ..engine import find as engines
from ..engine.find import Engine
from ..errors import EngineError, ParameterError, RegistryError
from ..oci.reference import Reference


def describe(reference: str, username: Optional[str], password: Any) -> dict[str, Any]:
    """The result of ``registry_image_info``. Raises ``ParameterError`` and ``RegistryError``."""
    wanted = _parse(reference)
    result: dict[str, Any] = {"exists": False, "reference": str(wanted)}
    try:
        manifest = _access(wanted, username, password).registry(_engine()).manifest(wanted, mirrors=False)
    except RegistryError as error:
        if error.code == "manifest_unknown":
            return result
        raise
    platforms = [
        {"platform": str(platform), "digest": digest}
        for platform, digest in sorted(manifest.platforms.items())
    ]
    return {
        **result,
        "exists": True,
        "digest": manifest.digest,
        "media_type": manifest.media_type,
        "annotations": dict(manifest.annotations),
        "platforms": platforms,
        "attestations": dict(manifest.attestations),
    }


def remove(
    reference: str, username: Optional[str], password: Any, *, only_ask: bool = False
) -> dict[str, Any]:
    """The result of ``registry_image``.

    ``changed`` tells whether there was something, with ``only_ask`` whether there is.
    """
    wanted = _parse(reference)
    registry = _access(wanted, username, password).registry(_engine())
    changed = registry.digest(wanted, mirrors=False) is not None if only_ask else registry.delete(wanted)
    return {"changed": changed, "reference": str(wanted)}


def _parse(text: str) -> Reference:
    try:
        return Reference.parse(text)
    except ValueError as error:
        raise ParameterError([f"reference: {error}"]) from None


def _access(reference: Reference, username: Optional[str], password: Any) -> Access:
    login = {"url": reference.registry, "username": username, "password": password}
    return Access.of(check_registry(login))


def _engine() -> Optional[Engine]:
    """The engine whose settings for registries count; without one, an engine's defaults do."""
    try:
        return engines.find()
    except EngineError:
        return None
