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
class Policy:
    """What a document may ask of the machine that builds; everything, unless it says otherwise.

    ``secret_forms`` are the forms of secrets that are read: ``text``, ``env`` and ``file``; the ``reader`` of
    ``document/secrets.py`` asks. ``reach`` is asked in ``network/reach.py`` for each address. All else is
    asked in ``document/permit.py``: ``local_paths`` is whether a document may name files and folders of this
    machine (also as ``file`` addresses). ``builders`` are the
    buildx builders that may be named, ``None`` for any. ``longest_seconds`` bounds ``options.timeout`` and
    stands in for one that is left out; ``most_images`` is how many images a request may have.
    """

    secret_forms: frozenset[str] = frozenset(("text", "env", "file"))
    local_paths: bool = True
    reach: Reach = everywhere
    builders: Optional[frozenset[str]] = None
    longest_seconds: Optional[float] = None
    most_images: Optional[int] = None


#: The policy of a person at a terminal, and of Ansible: what the document says is what its reader wants.
PERMISSIVE = Policy()
