# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The source of a document, as checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union

from ..network import file_url
from ..secret import Secret


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
class RemoteFile:
    """One file at an address: ``url`` passes ``file_url.check_url``.

    ``username`` and ``password`` serve https and http; a password alone is a token. ``checksum``
    is ``sha256:`` and 64 hexadecimal digits in lower case, or ``None`` where any content will do.
    """

    url: str
    username: Optional[str] = None
    password: Optional[Secret] = None
    checksum: Optional[str] = None

    @property
    def shown(self) -> str:
        """The address without what may be a secret: all that people, and images, get of it."""
        return file_url.shown(self.url)


@dataclass(frozen=True)
class Folder:
    """A folder of the machine that builds (``source.build_context.path``), by its absolute path."""

    path: str


@dataclass(frozen=True)
class StandaloneDockerfile:
    """A Dockerfile from an address (``source.dockerfile``) and the build context that goes with it.

    Without a ``context`` nothing at all goes with it. That of a repository is its ``workdir``.
    """

    file: RemoteFile
    context: Union[GitRepo, Folder, None] = None


@dataclass(frozen=True)
class Archive:
    """A tar archive (``source.tar``): a build context, or an image that a tool saved.

    ``file`` is where it comes from; a file of this machine is a ``file`` URL. ``dockerfile`` and
    ``workdir`` are read as those of a ``GitRepo``.
    """

    file: RemoteFile
    dockerfile: str = "Dockerfile"
    workdir: str = "."


#: Every kind of source.
Source = Union[GitRepo, StandaloneDockerfile, Archive]
