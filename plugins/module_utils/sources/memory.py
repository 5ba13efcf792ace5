# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What is remembered of a source that cannot change: it need not be fetched to see that nothing changed.

A commit holds the same files for ever. What a plan reads of them, the Dockerfile's text and the
digest of the build context, is kept in the user's cache folder, in one file for each commit and
way to build it. Of credentials nothing is kept. Whatever is wrong with a file there, it counts as absent.

Source of the folder: XDG Base Directory Specification, ``XDG_CACHE_HOME``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, astuple
from typing import Optional

from .context_digest import DIGEST_VERSION
from .tree import Known

_VERSION = 2
_MOST_FILES = 1000
_MOST_BYTES = 16 * 1024 * 1024


def key(*parts: str) -> str:
    """The name of what is known of a source that ``parts`` describe in full."""
    return hashlib.sha256(json.dumps([_VERSION, DIGEST_VERSION, *parts]).encode()).hexdigest()


def recall(name: str) -> Optional[Known]:
    """What was remembered under ``name`` (see ``key``), if anything."""
    path = _path(name)
    with suppress(OSError, ValueError, TypeError, RecursionError), open(path, "rb", opener=opened) as file:
        known = Known(**json.loads(file.read(_MOST_BYTES)))
        if [type(value) for value in astuple(known)] == [str, str, str, int]:
            os.utime(path)
            return known
    return None


def remember(name: str, known: Known) -> None:
    """Keep ``known`` under ``name`` where the cache folder can be written."""
    path = _path(name)
    folder = os.path.dirname(path)
    if not os.path.isabs(folder):
        return  # a user without a home
    with suppress(OSError):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        # What was not asked for the longest goes first.
        files = sorted(os.scandir(folder), key=lambda entry: entry.stat(follow_symlinks=False).st_mtime)
        for entry in files[: max(len(files) - _MOST_FILES + 1, 0)]:
            with suppress(OSError):
                os.unlink(entry.path)
        replace_file(path, json.dumps(asdict(known)))


def replace_file(path: str, text: str) -> None:
    """Write ``text``, of ASCII, to ``path``, where there is always a whole file. Raises ``OSError``."""
    handle, begun = tempfile.mkstemp(dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
        os.replace(begun, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(begun)
        raise


def opened(path: str, flags: int) -> int:
    """Open for reading, for ``open``; a pipe in the place of a file is not waited for. Raises ``OSError``."""
    handle = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "it is not a file", path)
    return handle


def cache_folder() -> Optional[str]:
    """The user's folder for what may be lost at any time; ``None`` for a user without a home."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):
        cache = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "image-builder") if os.path.isabs(cache) else None


def _path(name: str) -> str:
    return os.path.join(cache_folder() or "", "sources", f"{name}.json")
