# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Picking a network that no route of this machine uses."""

from __future__ import annotations

import ipaddress
import json
import socket
import struct
from pathlib import Path

# Private ranges that neither Docker's own defaults nor most offices and clouds use.
_CANDIDATES = tuple(ipaddress.IPv4Network(f"10.{second}.240.0/20") for second in range(213, 232))


def _routes(table: Path) -> list[ipaddress.IPv4Network]:
    """The kernel's IPv4 routes, without the default one; numbers stand there in host byte order."""
    routes = []
    for line in table.read_text().splitlines()[1:]:
        fields = line.split()
        address, mask = (socket.inet_ntoa(struct.pack("=L", int(fields[i], 16))) for i in (1, 7))
        network = ipaddress.IPv4Network(f"{address}/{mask}")
        if network.prefixlen:
            routes.append(network)
    return routes


def network_for(configuration: Path, table: Path = Path("/proc/net/route")) -> str:
    """The network of the engine configured at ``configuration``, or a free one for a new engine."""
    try:
        return str(json.loads(configuration.read_text())["default-address-pools"][0]["base"])
    except (OSError, ValueError, LookupError):
        pass
    taken = _routes(table)
    free = (network for network in _CANDIDATES if not any(network.overlaps(other) for other in taken))
    return str(next(free, _CANDIDATES[0]))
