# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Whether what was pushed stands in the registry: its tags, its index, and all that a pull needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Optional

from ..errors import RegistryError
from ..oci.manifest import Manifest
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..parallel import in_parallel
from . import read
from .client import Registry

#: What to do about an image that the registry took and does not hold.
LOST_HINT = (
    "Run it again; if it stays so, ask those who run the registry, or look for what else pushes this tag."
)


def confirm(
    registry: Registry,
    references: Sequence[Reference],
    digest: str,
    platforms: Optional[Collection[Platform]] = None,
) -> Manifest:
    """What the registry holds under ``references``, where it is what was pushed: ``digest``.

    ``platforms`` are those that it must have; otherwise the digest alone tells.

    Raises ``RegistryError`` of the phase ``report``: ``push_lost`` where it is something else or not
    complete, or why the registry could not be asked.
    """
    leading, *others = references
    try:
        named = in_parallel(partial(read.digest, registry, mirrors=False), others)
        for reference, held in zip(others, named):
            if held != digest:
                raise _lost(reference, held, digest)
        manifest = read.manifest(registry, leading, mirrors=False)
        if manifest.digest != digest or set(manifest.platforms) != set(platforms or manifest.platforms):
            raise _lost(leading, manifest.digest, digest)
        missing = read.missing(registry, manifest)
        if missing:
            raise _lost(leading, f"an image without {', '.join(missing)}", digest)
    except RegistryError as error:
        if error.code == "manifest_unknown":
            raise _lost(leading, None, digest) from None
        error.phase = "report"
        raise
    return manifest


def _lost(reference: Reference, held: object, digest: str) -> RegistryError:
    return RegistryError(
        "push_lost",
        f"The registry holds {held or 'nothing'} as {reference} instead of the {digest} that was pushed.",
        hint=LOST_HINT,
        retryable=True,
        phase="report",
    )
