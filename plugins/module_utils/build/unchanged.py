# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Whether the registry holds an image already: the one place that says "unchanged"."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Optional

from ..document.options import Options
from ..errors import RegistryError
from ..oci.manifest import Manifest
from ..registry import read
from ..registry.client import Registry
from .input_hash import INPUT_HASH
from .made_from import recall
from .planned import Head

#: What a manifest that stands under a reference has against being the image of a head; empty for nothing.
Difference = Callable[[Head, Manifest], str]


def compare(head: Head, difference: Difference, options: Options, registry: Registry) -> Head:
    """``head`` with its state: unchanged where each of its references names the whole image already.

    Raises ``RegistryError`` where the registry does not say.
    """
    if options.rebuild == "always":
        return head.judged("pending", "rebuild is always")
    if head.image.no_cache:
        return head.judged("pending", "no_cache is set")
    if head.image.no_cache_filter:
        return head.judged("pending", "no_cache_filter is set")
    leading: Optional[Manifest] = None
    try:
        for reference in head.image.references:
            try:
                manifest = read.manifest(registry, reference, mirrors=False)
            except RegistryError as error:
                if error.code == "manifest_unknown":
                    return head.judged("pending", f"{reference} is not in the registry")
                if error.status in (401, 403):
                    # Some registries answer so for a repository that does not exist yet; whether
                    # pushing is allowed is found out before the build.
                    return head.judged("pending", f"{reference} cannot be read from the registry")
                raise
            different = difference(head, manifest)
            if different:
                return head.judged("pending", f"{reference} {different}")
            leading = leading or manifest
            if manifest.digest != leading.digest:
                return head.judged("pending", f"{reference} is another build than {head.name}")
        missing = read.missing(registry, leading) if leading else []
    except RegistryError as error:
        error.image = head.name
        raise
    if missing:
        lost = ", ".join(missing)
        return head.judged("pending", f"the registry has lost {lost} of {head.name}")
    return head.judged("unchanged", "the registry holds it already", leading)


def made_otherwise(head: Head, manifest: Manifest) -> str:
    """The difference of what was built, which its input hash tells."""
    if manifest.annotations.get(INPUT_HASH) != head.input_hash:
        return "was built from other inputs"
    if set(manifest.platforms) != set(head.platforms):
        return "has other platforms"
    return ""


def built_otherwise(head: Head, manifest: Manifest) -> str:
    """The difference of what was built, and of what it tells of that."""
    different = made_otherwise(head, manifest)
    if different:
        return different
    if recall(manifest.annotations, head.bases) is None:
        return "does not say what it was built from"
    return ""


def as_built(head: Head) -> Head:
    """``head``; where it is unchanged, with the revision and the bases that stand in the registry."""
    made = recall(head.manifest.annotations, head.bases) if head.manifest else None
    return replace(head, revision=made.revision, bases=made.bases) if made else head


def stored_otherwise(head: Head, manifest: Manifest) -> str:
    """The difference of what is pushed as it is, whose digest is known."""
    return "is another image" if manifest.digest != head.input_hash else ""
