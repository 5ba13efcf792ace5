# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The keys of an image that say how the builder runs its steps."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any, Optional, cast

from .faults import Faults, kind_of
from .target import NETWORKS, Network

_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\Z")
# What stands for the address of the engine's machine. Source: docker/cli, ``opts/hosts.go``.
_GATEWAY = "host-gateway"
_SIZE = re.compile(r"([0-9]{1,12})([bkmg]?)b?\Z", re.IGNORECASE)
_UNITS: Mapping[str, int] = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_LARGEST_SIZE = 1 << 40
# The names that docker/go-units knows (``ulimit.go``).
_LIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice"),
    *("nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"),
)
_LIMIT_NAME = re.compile(rf"(?:{'|'.join(_LIMITS)})\Z")
_LIMIT = re.compile(r"(-1|[0-9]{1,18})(?::(-1|[0-9]{1,18}))?\Z")
_STAGE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*\Z")


def check_steps(faults: Faults, path: str, parts: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an image that say how its steps are run; ``path`` is the image's."""
    return {
        "network": _network(faults, f"{path}.network", parts.get("network", NETWORKS[0])),
        "add_hosts": _hosts(faults, f"{path}.add_hosts", parts.get("add_hosts", {})),
        "shm_size": _size(faults, f"{path}.shm_size", parts["shm_size"]) if "shm_size" in parts else 0,
        "ulimits": _limits(faults, f"{path}.ulimits", parts.get("ulimits", {})),
        "no_cache_filter": _stages(faults, f"{path}.no_cache_filter", parts.get("no_cache_filter")),
    }


def _network(faults: Faults, path: str, value: Any) -> Network:
    if value not in NETWORKS:
        faults.add(path, f"expected one of {', '.join(NETWORKS)}, got {value!r}")
        return NETWORKS[0]
    if value == "host":
        faults.powers.append((path, "host_network"))
    return cast(Network, value)


def _hosts(faults: Faults, path: str, value: Any) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, item in faults.mapping(path, value).items():
        where = f"{path}.{name}"
        if not _HOST.match(name):
            faults.add(path, f"{name!r} is not the name of a host")
        if isinstance(item, (list, tuple)):
            given = [_address(faults, f"{where}[{n}]", one) for n, one in enumerate(item)]
            if not given:
                faults.add(where, "must not be empty")
        else:
            given = [_address(faults, where, item)]
        found[name] = tuple(address for address in given if address is not None)
    return found


def _address(faults: Faults, path: str, value: Any) -> Optional[str]:
    text = faults.text(path, value)
    if text is None or text == _GATEWAY:
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        faults.add(path, f"{text!r} is not an IP address; give one, or {_GATEWAY} for the engine's machine")
        return None


def _size(faults: Faults, path: str, value: Any) -> int:
    """Bytes. Rule: docker/go-units (``RAMInBytes``), without fractions."""
    if isinstance(value, int) and not isinstance(value, bool) and path not in faults.written:
        value = str(value)
    match = _SIZE.match(value) if isinstance(value, str) else None
    size = int(match[1]) * _UNITS[match[2].lower()] if match else 0
    if not 0 < size <= _LARGEST_SIZE:
        shown = repr(value) if isinstance(value, str) else kind_of(value)
        faults.add(path, f"expected a size from 1 byte to 1024g, such as 128m, got {shown}")
        return 0
    return size


def _limits(faults: Faults, path: str, value: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in faults.texts(path, value, key=_LIMIT_NAME, what=f"one of {', '.join(_LIMITS)}").items():
        match = _LIMIT.match(text)
        soft, hard = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if hard != -1 and not 0 <= soft <= hard:
            what = "a number, or soft:hard of which the first is not greater, and -1 is without a limit"
            faults.add(f"{path}.{name}", f"expected {what}; got {text!r}")
        found[name] = f"{soft}:{hard}"
    return found


def _stages(faults: Faults, path: str, value: Any) -> tuple[str, ...]:
    found: list[str] = []
    for number, item in enumerate(faults.sequence(path, value)):
        text = faults.text(f"{path}[{number}]", item)
        if text is not None and not _STAGE.match(text):
            faults.add(f"{path}[{number}]", f"{text!r} is not the name of a stage")
        elif text is not None:
            found.append(text.lower())
    return tuple(found)
