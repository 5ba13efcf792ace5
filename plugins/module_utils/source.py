# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a build is made from, before and after it has been fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from .secret import Secret


@dataclass(frozen=True)
class GitRepo:
    """A git repository as the document names it (``source.git_repo``).

    ``url`` passes ``git_url.check_url``; ``version`` is ``HEAD``, a branch, a tag, a full
    reference (``refs/...``), or a full or abbreviated commit. ``username`` and ``password``
    serve http and https; a password alone is a token. ``ssh_key_file`` and
    ``ssh_known_hosts_file`` are paths on the machine that fetches. ``workdir`` is the build
    context, relative to the repository's root; ``dockerfile`` is relative to the root or,
    where nothing is found there, to ``workdir``.
    """

    url: str
    version: str = "HEAD"
    username: Optional[str] = None
    password: Optional[Secret] = None
    ssh_key_file: Optional[str] = None
    ssh_known_hosts_file: Optional[str] = None
    dockerfile: str = "Dockerfile"
    workdir: str = "."


@dataclass(frozen=True)
class SourceTree:
    """A fetched source on disk.

    ``root`` is the top of the tree, ``context`` the build context in it and ``dockerfile``
    the Dockerfile, all absolute and free of symbolic links. ``revision`` is the full commit,
    ``committed_at`` its time in Unix seconds (for SOURCE_DATE_EPOCH), ``url`` where it came
    from, without credentials. ``warnings`` are sentences for the user.
    """

    root: str
    context: str
    dockerfile: str
    revision: str
    committed_at: int
    url: str
    warnings: tuple[str, ...] = ()
