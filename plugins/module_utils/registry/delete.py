# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Removing from registries what only one tag needs.

Source: OCI distribution specification 1.1, "Content Management".
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial

from ..errors import RegistryError
from ..network.failure import Failure
from ..oci.reference import Reference, is_tag
from ..parallel import in_parallel
from . import read
from .client import Registry, Repository

# How registries say that they do not remove tags, or do not remove at all.
_NOT_REMOVED = (400, 404, 405, 501)
_NEXT_PAGE = re.compile(r'\s*<([^>]*)>\s*;\s*rel="?next"?')
_TAGS_A_PAGE, _MOST_TAGS = 1000, 5000


def delete(registry: Registry, reference: Reference) -> bool:
    """Remove a tag, or the manifest that a reference without a tag names by its digest.

    Whether it was there. A tag with a digest is removed only while it names that digest.
    Where the registry can only remove whole manifests, a tag's manifest is removed if no
    other tag needs it. Raises ``RegistryError``: ``tag_shared`` if one does, ``delete_unsupported``
    where the registry removes nothing.
    """
    tag, digest = reference.tag, reference.digest
    if tag:
        tagged = replace(reference, digest=None)
        found = read.digest(registry, tagged, mirrors=False)
        if found is None or digest not in (None, found):
            return False
        digest = found
        # Tags have been removable by themselves since version 1.1 of the specification.
        removed = _remove(registry, reference, tag) < 300
        if removed and read.digest(registry, tagged, mirrors=False) is None:
            return True
        _check_not_shared(registry, reference, digest)
    status = _remove(registry, reference, str(digest))
    if status in (400, 405, 501):
        raise RegistryError(
            "delete_unsupported",
            f"Cannot remove {reference.familiar}: {reference.registry} does not allow it.",
            hint="Allow deletion in the registry's settings (for the distribution registry, "
            "storage.delete.enabled: true), or remove the image in the registry's own interface.",
            status=status,
        )
    return bool(tag) or status != 404


def _remove(registry: Registry, reference: Reference, named: str) -> int:
    """The status of removing the manifest or tag ``named``, which can be one of ``_NOT_REMOVED``."""

    def remove(repository: Repository) -> int:
        return repository.send("DELETE", f"manifests/{named}", passing=_NOT_REMOVED).status

    return registry.ask("remove", reference, remove, actions="delete")


def _check_not_shared(registry: Registry, reference: Reference, digest: str) -> None:
    """Raise ``RegistryError`` where removing ``digest`` would take something from another tag."""

    def needs(other: str) -> bool:
        try:
            tagged = replace(reference, tag=other, digest=None)
            named, held = registry.ask("read", tagged, partial(read.content, wanted=other))
        except RegistryError as error:
            if error.code == "manifest_unknown":
                return False
            raise
        return digest == named or any(digest == entry.digest for entry in held.entries)

    others = [tag for tag in registry.ask("list the tags of", reference, _tags) if tag != reference.tag]
    sharing = [tag for tag, needed in zip(others, in_parallel(needs, others)) if needed]
    if sharing:
        raise RegistryError(
            "tag_shared",
            f"Cannot remove {reference.familiar}: {reference.registry} can only remove the whole image "
            f"{digest}, which is also that of {', '.join(sorted(sharing))}.",
            hint="Push something else to those tags or remove them first, or keep this one.",
        )


def _tags(repository: Repository) -> list[str]:
    tags: list[str] = []
    tail = f"tags/list?n={_TAGS_A_PAGE}"
    while True:
        response = repository.send("GET", tail)
        try:
            tags += [
                tag for tag in json.loads(response.body)["tags"] or () if isinstance(tag, str) and is_tag(tag)
            ]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise read.damaged(repository, "the list of tags is not understood") from None
        if len(tags) > _MOST_TAGS:
            raise Failure(
                "registry_error",
                f"{repository.endpoint.host} has more than {_MOST_TAGS} tags of it, too many to look through",
                hint="Remove the image by its digest, or in the registry's own interface.",
            )
        following = _NEXT_PAGE.match(response.headers.get("Link", ""))
        if not following:
            break
        # Only the query counts: the path is known, and some registries name a wrong one.
        tail = f"tags/list?{following.group(1).partition('?')[2]}"
    return tags
