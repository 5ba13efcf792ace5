# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Asking a server what a version means."""

from __future__ import annotations

from typing import Optional

from .client import Git
from .version import (
    Found,
    find,
    full_commit,
    is_abbreviated,
    listing_options,
    parse_listing,
    same_name,
    unknown,
)


def look_up(git: Git, url: str, version: str, what: str) -> Optional[Found]:
    """What ``version`` means on the server, by its list of references.

    ``None`` for an abbreviated commit that none of them stands at. Raises ``SourceError``.
    """
    commit = full_commit(version)
    if commit:
        return Found(commit, commit)
    references = parse_listing(git.list_references(url, listing_options(version), what))
    found = find(references, version, url)
    if warning := same_name(references, version):
        git.listener.line(f"warning: {warning}")
    if found is None and not (references and is_abbreviated(version)):
        raise unknown(references, version, url)
    return found
