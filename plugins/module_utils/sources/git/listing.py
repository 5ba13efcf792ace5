# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a commit holds, looked through before a file of it is written."""

from __future__ import annotations

import os
from typing import Optional

from ...policy import SourceLimits
from .bounded import DiskFull, Room
from .messages import limit_passed, too_large

# Source: gitdatamodel(7), "tree": the mode of a submodule.
_LINK = b"160000"
_ATTRIBUTES = b".gitattributes"
# A tree may hold itself a thousand times over, so what is kept of its names has an end, too.
_MOST_ATTRIBUTES = 10_000


class Listing:
    """The entries of a commit as ``git ls-tree -r -t -z --long`` tells them; little of it is kept.

    ``links`` are the submodules, path to commit; ``attributes`` the paths of files that say which others lie
    with Git LFS. ``what`` names the repository, and ``workspace`` is the folder that all of it goes to. What
    the listing ``before`` counted, of the repository that it is a submodule of, counts as well.
    """

    def __init__(
        self, what: str, limits: SourceLimits, workspace: str, before: Optional[Listing] = None
    ) -> None:
        self.links: dict[str, str] = {}
        self.attributes: list[str] = []
        self._what = f"{what[:1].upper()}{what[1:]}"
        self._limits = limits
        self._workspace = workspace
        self._room = Room.of(workspace)
        self._files: int = before._files if before else 0
        self._bytes: int = before._bytes if before else 0
        self._others_files, self._others_bytes = self._files, self._bytes
        self._begun = b""

    def take(self, chunk: bytes) -> None:
        """Count what ``chunk``, the next of the output, tells. Raises ``SourceError``."""
        *entries, self._begun = (self._begun + chunk).split(b"\0")
        for entry in entries:
            info, _, path = entry.partition(b"\t")
            mode, _, commit, size = info.split()
            self._files += 1
            if size != b"-":
                self._bytes += int(size)
            if mode == _LINK:
                self.links[os.fsdecode(path)] = commit.decode("ascii")
                if len(self.links) > self._limits.submodules:
                    raise too_large(f"{self._what} has more than {self._limits.submodules} submodules")
            elif path.rpartition(b"/")[2] == _ATTRIBUTES and len(self.attributes) < _MOST_ATTRIBUTES:
                self.attributes.append(os.fsdecode(path))
            if path.count(b"/") > self._limits.depth:
                raise too_large(f"{self._what} has more than {self._limits.depth} folders one in another")
        self._require()

    def _require(self) -> None:
        limits = self._limits
        if self._files > limits.files:
            raise too_large(f"{self._what} has more than {limits.files} files and folders")
        if self._bytes > limits.bytes:
            raise too_large(f"{self._what} has more than {limits.bytes >> 20} MiB of files")
        files, size = self._files - self._others_files, self._bytes - self._others_bytes
        if files > self._room.files or size > self._room.bytes:
            raise limit_passed(DiskFull(), self._what)
