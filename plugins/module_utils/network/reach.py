# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which addresses may be connected to: the one place that asks the operator's ``Reach``."""

from __future__ import annotations

import ipaddress
import socket
from enum import IntEnum
from typing import Any

from ..errors import SourceError
from ..policy import Address, Reach, everywhere

#: What to do about a host that may not be reached.
FORBIDDEN_HINT = "Name another server, or ask those who run this machine to allow it."


# Addresses of IPv6 that stand for one of IPv4, which are their last 32 bits: RFC 6052.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Nearness(IntEnum):
    """How near an address is to this machine: what is further away must not lead to what is nearer."""

    PUBLIC = 0
    PRIVATE = 1
    #: This machine, and what only its own link knows, such as the metadata service of a cloud.
    HERE = 2


class AddressForbidden(Exception):
    """A host may not be connected to. The text, a clause, keeps its addresses from who asks."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} may not be reached from here")


def nearness(address: Address) -> Nearness:
    """How near ``address`` is."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else address.sixtofour
        if inner is not None:
            return nearness(inner)
    if address.is_loopback or address.is_link_local or address.is_unspecified:
        return Nearness.HERE
    local = getattr(address, "is_site_local", False)
    return Nearness.PUBLIC if address.is_global and not local else Nearness.PRIVATE


def nearness_of(host: str) -> Nearness:
    """How near the farthest address of ``host`` is; ``PUBLIC`` for a name that cannot be resolved."""
    try:
        return min(nearness(address) for _, _, address in _resolved(host, 0))
    except (OSError, UnicodeError, ValueError):
        return Nearness.PUBLIC


def no_nearer(reach: Reach, nearest: Nearness) -> Reach:
    """``reach`` without the addresses that are nearer than ``nearest``."""
    if nearest is Nearness.HERE:
        return reach
    return lambda address: nearness(address) <= nearest and reach(address)


def place_of(socket_address: Any) -> Nearness:
    """How near the address of a connected socket of IPv4 or IPv6 is."""
    return nearness(_address(str(socket_address[0])))


def allowed(host: str, port: int, reach: Reach) -> list[tuple[socket.AddressFamily, Any]]:
    """The addresses of ``host`` that ``reach`` allows: each one's family, and what ``socket.connect`` takes.

    Raises ``AddressForbidden`` where there is none, ``OSError`` or ``UnicodeError`` where the name cannot
    be resolved.
    """
    usable = [(family, place) for family, place, address in _resolved(host, port) if reach(address)]
    if not usable:
        raise AddressForbidden(host)
    return usable


def require(host: str, port: int, reach: Reach) -> list[str]:
    """Raise ``AddressForbidden`` unless each address of ``host`` may be connected to.

    This is for what connects by itself, a proxy or a program, to any of them. A name that cannot be
    resolved passes, since it may be one that only a proxy knows. What is checked is what the name means
    now: who owns it can change that before the other asks for itself, unless it is given the
    addresses that were checked, which are returned; none where ``reach`` is ``everywhere``.
    """
    if reach is everywhere:
        return []
    try:
        found = _resolved(host, port)
    except (OSError, UnicodeError):
        return []
    if not all(reach(address) for _, _, address in found):
        raise AddressForbidden(host)
    return [str(place[0]).partition("%")[0] for _, place, _ in found]


def check_host(host: str, port: int, reach: Reach) -> list[str]:
    """``require``, for a source that git fetches: raises ``SourceError`` ``address_forbidden``."""
    try:
        return require(host, port, reach)
    except AddressForbidden as error:
        raise SourceError("address_forbidden", f"{error}.", hint=FORBIDDEN_HINT) from None


def _resolved(host: str, port: int) -> list[tuple[socket.AddressFamily, Any, Address]]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(entry[0], entry[4], _address(str(entry[4][0]))) for entry in found]


def _address(text: str) -> Address:
    """The address of a socket; one of IPv4 that is written as IPv6 is the one of IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address
