# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Removing from registries what only one tag needs.

Source: OCI distribution specification 1.1, "Content Management".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Optional

from ..oci.reference import Reference
from .client import Registry, Repository
from .read import content, damaged, named_digest
from .transport import Failure

# How registries say that they do not remove tags, or do not remove at all.
_NOT_REMOVED = (400, 404, 405, 501)
_NEXT_PAGE = re.compile(r'\s*<([^>]*)>\s*;\s*rel="?next"?')
_TAGS_A_PAGE, _MOST_PAGES = 1000, 1000


def delete(registry: Registry, reference: Reference) -> bool:
    """Remove a tag, or the manifest that a reference without a tag names by its digest.

    Whether it was there. A tag with a digest is removed only while it names that digest.
    Where the registry can only remove whole manifests, a tag's manifest is removed if no
    other tag needs it. Raises ``RegistryError``: ``tag_shared`` if one does, ``delete_unsupported``
    where the registry removes nothing.
    """
    return registry.ask("remove", reference, partial(_delete, reference))


def _delete(reference: Reference, repository: Repository) -> bool:
    tag, digest = reference.tag, reference.digest
    remove = partial(repository.request, "DELETE", actions="delete", passing=_NOT_REMOVED)
    if tag:
        found = _tagged(repository, tag)
        if found is None or digest not in (None, found):
            return False
        digest = found
        # Tags have been removable by themselves since version 1.1 of the specification.
        removed = remove(f"manifests/{tag}").status < 300
        if removed and _tagged(repository, tag) is None:
            return True
        _check_not_shared(repository, tag, digest)
    response = remove(f"manifests/{digest}")
    if response.status in (400, 405, 501):
        raise Failure(
            "delete_unsupported",
            f"{repository.endpoint.host} does not allow it",
            hint="Allow deletion in the registry's settings (for the distribution registry, "
            "storage.delete.enabled: true), or remove the image in the registry's own interface.",
            status=response.status,
        )
    return bool(tag) or response.status != 404


def _tagged(repository: Repository, tag: str) -> Optional[str]:
    try:
        return named_digest(repository, tag)
    except Failure as failure:
        if failure.code == "manifest_unknown":
            return None
        raise


def _check_not_shared(repository: Repository, tag: str, digest: str) -> None:
    """Raise ``Failure`` where removing ``digest`` would take something from another tag."""
    sharing = []
    for other in _tags(repository):
        if other == tag:
            continue
        try:
            named, held = content(repository, other)
        except Failure as failure:
            if failure.code == "manifest_unknown":
                continue
            raise
        if digest == named or any(digest == entry.digest for entry in held.entries):
            sharing.append(other)
    if sharing:
        raise Failure(
            "tag_shared",
            f"{repository.endpoint.host} can only remove the whole image {digest}, which is also that of "
            + ", ".join(sorted(sharing)),
            hint="Push something else to those tags or remove them first, or keep this one.",
        )


def _tags(repository: Repository) -> Iterator[str]:
    tail: Optional[str] = f"tags/list?n={_TAGS_A_PAGE}"
    for _ in range(_MOST_PAGES):
        if tail is None:
            return
        response = repository.request("GET", tail)
        try:
            tags = json.loads(response.body)["tags"] or ()
            yield from [tag for tag in tags if isinstance(tag, str)]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise damaged(repository, "the list of tags is not understood") from None
        following = _NEXT_PAGE.match(response.headers.get("Link", ""))
        # Only the query counts: the path is known, and some registries name a wrong one.
        tail = f"tags/list?{following.group(1).partition('?')[2]}" if following else None
