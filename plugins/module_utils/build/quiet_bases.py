# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Base images without ONBUILD and labels, remembered by their digests, so that nobody is asked again.

What a digest names never changes. Many bases have neither, and nothing else of their configs is needed for
most Dockerfiles. Whatever is wrong with the file in the user's cache folder, it counts as absent.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

from ..oci.digest import is_digest
from ..sources.memory import cache_folder, opened, replace_file

_NAME = "quiet-bases"
_MOST = 1000


def recall() -> list[str]:
    """The digests that are remembered, those of the latest runs first."""
    folder = cache_folder()
    with suppress(OSError, ValueError):
        if folder:
            with open(os.path.join(folder, _NAME), "rb", opener=opened) as file:
                lines = file.read(_MOST * 140).decode("ascii").splitlines()
            return [line for line in lines[:_MOST] if is_digest(line)]
    return []


def remember(digests: Iterable[str], before: list[str]) -> list[str]:
    """Keep ``digests`` too, beside those that were remembered ``before``, if the folder can be written.

    Returns all of them.
    """
    known = set(before)
    new = [digest for digest in dict.fromkeys(digests) if digest not in known]
    folder = cache_folder()
    if new and folder:
        with suppress(OSError):
            os.makedirs(folder, mode=0o700, exist_ok=True)
            replace_file(os.path.join(folder, _NAME), "\n".join([*new, *before][:_MOST]))
    return new + before
