# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a build is made from, before and after it has been fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional


@dataclass(frozen=True)
class Known:
    """What a plan reads of a source: the Dockerfile's text and name, the digest of what reaches the build.

    ``committed_at`` is that of the ``SourceTree``.
    """

    dockerfile: str
    dockerfile_name: str
    context_digest: str
    committed_at: int


@dataclass(frozen=True)
class Identity:
    """What is known of a source before it is fetched.

    ``revision`` and ``url`` are those of its ``SourceTree``. ``name`` is what people call it.
    ``made_of`` says in full what a build of it is made of, so that an earlier run's knowledge of it
    can be looked up; it is empty where that is not to be remembered.

    The rest spares ``fetch`` asking twice: ``want`` is what to ask a git server for to get the
    revision (empty: the revision itself), ``text`` that of a Dockerfile that came by itself.
    """

    revision: str
    url: str = ""
    name: str = ""
    made_of: tuple[str, ...] = ()
    want: str = ""
    text: Optional[bytes] = None


@dataclass(frozen=True)
class SourceTree:
    """A fetched source on disk.

    ``root`` is the top of the tree, ``context`` the build context in it and ``dockerfile``
    the Dockerfile, all absolute and free of symbolic links. ``dockerignore`` is the path of the patterns of
    what stays out of the build, empty for none. A Dockerfile that came by itself lies outside of ``root``.
    ``revision`` is the full commit, or the digest (``sha256:...``) of a Dockerfile without a repository or of
    an archive. ``committed_at`` is the time in Unix seconds
    (for SOURCE_DATE_EPOCH) of the commit, or of an archive's newest member, else 0. ``url`` is where
    it came from, without credentials. ``warnings`` are sentences for the user.

    Where ``image`` is true, ``context`` holds an image that a tool saved, and there is no Dockerfile.

    ``memory`` names what may be remembered of it (see ``memory.py``), empty for nothing. With
    ``known`` nothing was fetched, since that is remembered: the three paths are empty. ``seconds`` is
    how long it took, which counts against the time limit of the request.
    """

    root: str
    context: str
    dockerfile: str
    revision: str
    committed_at: int
    url: str
    dockerignore: str = ""
    warnings: tuple[str, ...] = ()
    image: bool = False
    memory: str = ""
    known: Optional[Known] = None
    seconds: float = 0.0

    @property
    def dockerfile_name(self) -> str:
        """What people call the Dockerfile: its path from ``root``, or its name where it came by itself."""
        if self.known:
            return self.known.dockerfile_name
        inside = self.dockerfile.startswith(os.path.join(self.root, ""))
        return os.path.relpath(self.dockerfile, self.root) if inside else os.path.basename(self.dockerfile)
