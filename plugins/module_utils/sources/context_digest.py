# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The digest of what of a build context reaches the build."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from ..oci.digest import digest_of_file

if TYPE_CHECKING:
    from .dockerignore import Ignore

#: Raised when ``context_digest`` of the same files changes, so that nobody compares with an old one.
DIGEST_VERSION = 1


def context_digest(context: str, ignore: Ignore) -> str:
    """A SHA-256 over path, type, permissions and content of all that is not ignored.

    Times and owners do not count, as for BuildKit's own cache. Raises ``OSError``.
    """
    total = hashlib.sha256()
    for path in sorted(arriving(context, ignore)):
        absolute = os.path.join(context, path)
        status = os.lstat(absolute)
        if stat.S_ISLNK(status.st_mode):
            mode, content = stat.S_IFLNK, os.readlink(absolute)
        else:
            digest = digest_of_file(absolute) if stat.S_ISREG(status.st_mode) else ""
            mode, content = status.st_mode, digest.removeprefix("sha256:")
        total.update(f"{path}\0{mode:o}\0{content}\0".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def newest_time(context: str, ignore: Ignore) -> int:
    """When the newest of the files that are not ignored was changed, in Unix seconds; 0 where there is none.

    Folders do not count: they change with what is ignored. Raises ``OSError``.
    """
    found = [os.lstat(os.path.join(context, path)) for path in arriving(context, ignore)]
    return max([0, *(int(status.st_mtime) for status in found if not stat.S_ISDIR(status.st_mode))])


def arriving(context: str, ignore: Ignore) -> set[str]:
    """The paths of what is not ignored, and of the folders around it."""
    found: set[str] = set()
    folders = [("", ignore.none)]
    while folders:
        start, above = folders.pop()
        with os.scandir(os.path.join(context, start)) as entries:
            for entry in entries:
                path = start + entry.name
                ignored, matched = ignore.step(path, above)
                if entry.is_dir(follow_symlinks=False) and (not ignored or ignore.may_bring_back(path)):
                    folders.append((f"{path}/", matched))
                while not ignored and path and path not in found:
                    found.add(path)
                    path = path.rpartition("/")[0]
    return found
