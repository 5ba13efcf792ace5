# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A copy of what of a folder reaches the build, so that what is built is what was hashed.

A folder of the user's own can change while it is built: between the plan and the build, and while buildx
sends it. A workspace cannot; nobody else writes there.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress

from ..errors import SourceError
from .context_digest import arriving
from .dockerignore import Ignore
from .workspace import unusable

# What a file system says that keeps no permissions, owners or attributes of the kind.
_NOT_KEPT = (errno.ENOTSUP, errno.EPERM, errno.EINVAL, errno.ENODATA)


def snapshot(context: str, ignore: Ignore, copy: str) -> None:
    """Copy what of the folder ``context`` is not ignored into the empty folder ``copy``.

    Times, permissions and attributes go with it, hard links stay such, sockets stay behind (as with
    buildx). Raises ``SourceError`` (``context_changed``, ``context_unreadable``, ``disk_full``,
    ``workspace_unusable``).
    """
    first: dict[tuple[int, int], str] = {}
    folders: list[tuple[str, str]] = [(context, copy)]
    # A folder comes before what is in it.
    for path in sorted(arriving(context, ignore)):
        source, target = os.path.join(context, path), os.path.join(copy, path)
        try:
            status = os.lstat(source)
            known = first.setdefault((status.st_dev, status.st_ino), target)
            if stat.S_ISDIR(status.st_mode):
                os.mkdir(target, 0o700)
                folders.append((source, target))
            elif status.st_nlink > 1 and known != target:
                os.link(known, target, follow_symlinks=False)
            elif not stat.S_ISSOCK(status.st_mode):
                _copy(source, target, status)
        except (FileNotFoundError, NotADirectoryError, FileExistsError):
            raise _changed(context, path) from None
        except OSError as error:
            raise _failed(context, path, copy, error) from None
    for source, target in reversed(folders):
        with suppress(FileNotFoundError):
            _copy_status(source, target)


def _copy(source: str, target: str, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISREG(status.st_mode):
        # Without waiting for a writer, should it be a pipe by now.
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as old, open(target, "xb") as new:
            shutil.copyfileobj(old, new, 1 << 20)
    else:
        os.mknod(target, status.st_mode, status.st_rdev)
    _copy_status(source, target)


def _copy_status(source: str, target: str) -> None:
    try:
        shutil.copystat(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NOT_KEPT:
            raise


def _changed(context: str, path: str) -> SourceError:
    return SourceError(
        "context_changed",
        f"{path!r} in {context} changed while it was read.",
        hint="Build again when nothing writes there.",
        retryable=True,
    )


def _failed(context: str, path: str, copy: str, error: OSError) -> SourceError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return SourceError(
            "context_unreadable",
            f"{path!r} in {context} cannot be read: {error.strerror}.",
            hint="Make it readable, or keep it out of the build with a .dockerignore.",
        )
    return unusable(copy, error)
