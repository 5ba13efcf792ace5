# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What the operator of an engine lets documents ask for."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Callable, Optional, Union

Address = Union[IPv4Address, IPv6Address]
#: Whether an address may be connected to. Asked with each resolved address before a connection is made.
Reach = Callable[[Address], bool]


def everywhere(address: Address) -> bool:
    """The reach of the command line and of Ansible: any address."""
    return True


@dataclass(frozen=True)
class SourceLimits:
    """How much a source may take while it is fetched, and as what lies in the workspace then.

    ``bytes`` on disk, ``files`` (folders and links count too), ``depth`` of folders one in another,
    ``processes`` at a time, ``memory`` of all of these in bytes, ``submodules`` in all, ``seconds`` in
    all. The values are far above real sources: they end what would grow without end.
    """

    bytes: int = 100 << 30
    files: int = 1_000_000
    depth: int = 200
    processes: int = 64
    memory: int = 4 << 30
    submodules: int = 500
    seconds: float = 3600.0


@dataclass(frozen=True)
class Policy:
    """What a document may ask of the machine that builds; everything, unless it says otherwise.

    ``secret_forms`` are the forms of secrets that are read: ``text``, ``env`` and ``file``; the ``reader`` of
    ``document/secrets.py`` asks. ``reach`` is asked in ``network/reach.py`` for each address. All else is
    asked in ``document/permit.py``: ``local_paths`` is whether a document may name files and folders of this
    machine (also as ``file`` addresses), ``host_network`` whether steps may have the network of the machine
    that builds, with all that listens there. ``builders`` are the buildx builders that may be named, ``None``
    for any. ``longest_seconds`` bounds ``options.timeout`` and stands in for one that is left out;
    ``most_images`` is how many images a request may have.
    ``own_settings`` is whether the logins, keys and settings count that the user who builds keeps for
    docker, git and ssh. ``source`` bounds what is fetched.
    """

    secret_forms: frozenset[str] = frozenset(("text", "env", "file"))
    local_paths: bool = True
    host_network: bool = True
    reach: Reach = everywhere
    builders: Optional[frozenset[str]] = None
    longest_seconds: Optional[float] = None
    most_images: Optional[int] = None
    own_settings: bool = True
    source: SourceLimits = SourceLimits()


#: The policy of a person at a terminal, and of Ansible: what the document says is what its reader wants.
PERMISSIVE = Policy()
