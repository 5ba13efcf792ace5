# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Private directories in which a source is fetched and built.

A workspace outlives the process that made it: between the TOSCA operations ``create`` and
``configure`` no process is alive. So each has a marker file with one of two states, and
whoever works in it holds a lock on that file, which the kernel drops when the process ends:

=============  ==========  ==================================================
state          lock        what a later run may do
=============  ==========  ==================================================
``working``    held        nothing: it is in use
``working``    free        remove it: its process was killed
``handed_on``  free        open it; remove it after ``HANDED_ON_SECONDS``,
                           and where that is said to begin in the future
=============  ==========  ==================================================

A lock rather than a process id, because ids are used again and differ between containers
that share a temporary directory. A directory without a marker is never touched.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from itertools import count
from typing import Optional

from ..errors import SourceError

PREFIX = "image-builder-"
HANDED_ON_SECONDS = 24 * 3600

_MARKER = ".image-builder-workspace"
# How far clocks of machines that share a folder may be apart.
_CLOCKS_SECONDS = 3600
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
# What folders are called when they are removed.
_MOVED = ".image-builder-removed-"


class Workspace:
    """A directory of mode 0700 with the source tree in ``context`` and, beside it, what a build needs.

    As a context manager it is removed at the end, unless ``hand_on()`` was called.
    """

    def __init__(self, path: str, lock: int) -> None:
        self.path = path
        self.context = os.path.join(path, "context")
        self._lock: Optional[int] = lock

    @classmethod
    def create(cls, root: Optional[str] = None) -> Workspace:
        """A new workspace under ``root`` (default: the system's directory for temporary files).

        Raises ``SourceError`` ``workspace_unusable`` or ``disk_full``.
        """
        try:
            path = tempfile.mkdtemp(prefix=PREFIX, dir=os.path.realpath(root or tempfile.gettempdir()))
        except OSError as error:
            raise unusable(root or tempfile.gettempdir(), error) from None
        try:
            lock = os.open(os.path.join(path, _MARKER), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            workspace = cls(path, lock)
            workspace._mark("working")
            os.mkdir(workspace.context)
        except OSError as error:
            remove_tree(path)
            raise unusable(path, error) from None
        except BaseException:
            remove_tree(path)
            raise
        return workspace

    @classmethod
    def open(cls, path: str) -> Workspace:
        """Take over the workspace at ``path`` that another process handed on.

        Raises ``SourceError``: ``no_workspace`` where there is none, ``workspace_in_use`` where
        its process is still at work, ``workspace_unusable`` where it is not one of ours.
        """
        try:
            lock = _lock(path)
        except BlockingIOError:
            raise SourceError(
                "workspace_in_use",
                f"The workspace {path} is in use by another build.",
                hint="Wait for it to end.",
                retryable=True,
            ) from None
        except FileNotFoundError:
            raise SourceError(
                "no_workspace", f"There is no workspace at {path}.", hint="Fetch the source again."
            ) from None
        except OSError as error:
            raise unusable(path, error) from None
        workspace = cls(os.path.realpath(path), lock)
        workspace._mark("working")
        return workspace

    def __enter__(self) -> Workspace:
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self.remove()

    def hand_on(self) -> None:
        """Leave the workspace to a later process, which opens it within ``HANDED_ON_SECONDS``."""
        self._mark("handed_on")
        self._unlock()

    def remove(self) -> None:
        """Delete the workspace; nothing happens where it is gone already.

        Raises ``SourceError`` ``workspace_not_removed``.
        """
        try:
            _remove_workspace(self.path)
        except OSError as error:
            raise SourceError(
                "workspace_not_removed",
                f"The workspace {self.path} cannot be removed: {error.strerror}.",
                hint="Delete it by hand.",
            ) from None
        finally:
            self._unlock()

    def empty(self) -> None:
        """Make the source tree empty. Raises ``SourceError``."""
        try:
            remove_tree(self.context)
            os.mkdir(self.context)
        except OSError as error:
            raise unusable(self.path, error) from None

    def directory(self, name: str) -> str:
        """The directory ``name`` beside the source tree, made with mode 0700 where it is missing."""
        path = os.path.join(self.path, name)
        os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    def path_inside(self, relative: str, what: str) -> str:
        """The absolute path of ``relative`` in the source tree, symbolic links resolved.

        It need not exist. ``what`` names it in the error, such as ``workdir``. Raises
        ``SourceError`` ``path_outside_source`` for everything that leads out of the tree.
        """
        root = os.path.realpath(self.context)
        inside = relative.isprintable() and not os.path.isabs(relative)
        path = os.path.realpath(os.path.join(root, relative)) if inside else ""
        if path != root and not path.startswith(root + os.sep):
            raise SourceError(
                "path_outside_source",
                f"The {what} {relative!r} leads out of the source.",
                hint="Give a relative path to something inside it; symbolic links are resolved.",
            )
        return path

    def _mark(self, state: str) -> None:
        assert self._lock is not None
        text = json.dumps({"state": state, "since": int(time.time())}).encode()
        os.pwrite(self._lock, text.ljust(os.fstat(self._lock).st_size), 0)

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def remove_stale(root: Optional[str] = None) -> list[str]:
    """Remove what killed runs of this user left under ``root``, and return those paths.

    The rule stands at the top of this module. What cannot be removed is passed over.
    """
    removed: list[str] = []
    folder = os.path.realpath(root or tempfile.gettempdir())
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return removed
    for name in names:
        path = os.path.join(folder, name)
        if not name.startswith(PREFIX):
            continue
        try:
            lock = _lock(path)
        except OSError:
            continue
        try:
            if _is_stale(lock):
                _remove_workspace(path)
                removed.append(path)
        except OSError:
            continue
        finally:
            os.close(lock)
    return removed


def remove_tree(path: str) -> None:
    """Delete a directory with all it holds, read-only directories included; links are not followed.

    However deep it is: neither the stack nor the length of a path has to hold it. Each folder is moved up to
    ``path`` itself before it is emptied.
    """
    if not os.path.isdir(path) or os.path.islink(path):
        return
    os.chmod(path, 0o700)
    top = os.open(path, _FOLDER)
    try:
        names = (f"{_MOVED}{number}" for number in count())
        waiting = deque(_emptied(top, top, names))
        while waiting:
            name = waiting.popleft()
            inner = os.open(name, _FOLDER, dir_fd=top)
            try:
                waiting += _emptied(inner, top, names)
            finally:
                os.close(inner)
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)


def _emptied(folder: int, top: int, names: Iterator[str]) -> Iterator[str]:
    """Delete what is in ``folder`` but folders, which are moved to ``top`` under the next of ``names``.

    Both are descriptors. Gives the new names.
    """
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
            continue
        # To move a folder it must be writable itself.
        os.chmod(name, 0o700, dir_fd=folder)
        for new in names:
            try:
                os.stat(new, dir_fd=top, follow_symlinks=False)
            except FileNotFoundError:
                os.rename(name, new, src_dir_fd=folder, dst_dir_fd=top)
                yield new
                break


def _remove_workspace(path: str) -> None:
    """The marker goes last, so that a removal that is killed can be taken up again."""
    if not os.path.isdir(path) or os.path.islink(path):
        return
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            remove_tree(entry.path)
        elif entry.name != _MARKER:
            os.unlink(entry.path)
    remove_tree(path)


def _lock(path: str) -> int:
    """Lock the workspace at ``path`` and return the descriptor; ``OSError`` where it is none of ours."""
    state = os.lstat(path)
    ours = (
        os.path.basename(path).startswith(PREFIX)
        and stat.S_ISDIR(state.st_mode)
        and state.st_uid == os.geteuid()
        and not state.st_mode & 0o077
    )
    if not ours:
        raise PermissionError(errno.EPERM, "it is not a private folder that image-builder made for this user")
    # A pipe in its place would not be waited for.
    lock = os.open(os.path.join(path, _MARKER), os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(lock).st_mode):
            raise PermissionError(errno.EPERM, "its marker is not a file")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(lock), os.lstat(os.path.join(path, _MARKER))):
            raise FileNotFoundError(errno.ENOENT, "it was removed meanwhile", path)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _is_stale(lock: int) -> bool:
    try:
        marker = json.loads(os.pread(lock, 4096, 0))
        handed_on = marker["state"] == "handed_on"
        age = time.time() - float(marker["since"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return True  # killed while the marker was written
    return not (handed_on and -_CLOCKS_SECONDS <= age <= HANDED_ON_SECONDS)


def unusable(path: str, error: OSError) -> SourceError:
    """The error for what the system refused under ``path``: ``disk_full`` or ``workspace_unusable``."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SourceError(
            "disk_full",
            f"There is no space left under {path}.",
            hint="Free some, or give a folder on another file system as 'custom_workdir'.",
        )
    return SourceError(
        "workspace_unusable",
        f"{path} cannot be used as a workspace: {error.strerror}.",
        hint="Give a folder of your own as 'custom_workdir'.",
    )
