# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One image in a registry: what it is, and its removal. Behind the modules of that name."""

from __future__ import annotations

from typing import Any, Optional

from ..build.access import Access
from ..document.target import RegistryAccount
from ..engine import find as engines
from ..engine.find import Engine
from ..errors import EngineError, RegistryError
from ..oci.reference import Reference
from ..policy import PERMISSIVE, Policy
from ..registry import read
from ..registry.client import Registry
from ..registry.delete import delete
from ..text import printable, printable_data


def describe(reference: Reference, account: RegistryAccount, policy: Policy = PERMISSIVE) -> dict[str, Any]:
    """The result of ``registry_image_info``, in texts that steer no terminal.

    ``policy`` says, as for a build, whether the user's own logins count and what may be connected to. Raises
    ``RegistryError``.
    """
    result: dict[str, Any] = {"exists": False, "reference": str(reference)}
    try:
        with _registry(account, policy) as registry:
            manifest = read.manifest(registry, reference, mirrors=False)
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
        "media_type": printable(manifest.media_type),
        "annotations": printable_data(manifest.annotations),
        "platforms": platforms,
        "attestations": dict(manifest.attestations),
    }


def remove(
    reference: Reference, account: RegistryAccount, policy: Policy = PERMISSIVE, *, only_ask: bool = False
) -> dict[str, Any]:
    """The result of ``registry_image``; ``policy`` as for ``describe``.

    ``changed`` tells whether there was something, with ``only_ask`` whether there is.
    """
    with _registry(account, policy) as registry:
        if only_ask:
            changed = read.digest(registry, reference, mirrors=False) is not None
        else:
            changed = delete(registry, reference)
    return {"changed": changed, "reference": str(reference)}


def _registry(account: RegistryAccount, policy: Policy) -> Registry:
    return Access.of(account, policy=policy).registry(_engine())


def _engine() -> Optional[Engine]:
    """The engine whose settings for registries count; without one, an engine's defaults do."""
    try:
        return engines.find()
    except EngineError:
        return None
