# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The build caches that a document names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..oci.reference import Reference
from .check_local_path import check_local_path
from .faults import Faults
from .target import Cache

# Of each of BuildKit's types the key that says where, first to read from, then to write to; empty for none.
_PLACES: Mapping[str, tuple[str, str]] = {
    "registry": ("ref", "ref"),
    "local": ("src", "dest"),
    "gha": ("scope", "scope"),
    "inline": ("", ""),
}
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*\Z")


def check_caches(faults: Faults, path: str, value: Any, *, to: bool) -> tuple[Cache, ...]:
    """The caches in the list ``value`` at ``path``: those to write to, or those to read from."""
    found = []
    for number, item in enumerate(faults.sequence(path, value)):
        where = f"{path}[{number}]"
        if to and item == "inline":
            found.append(Cache("", type="inline"))
        else:
            found.append(_cache(faults, where, {"ref": item} if isinstance(item, str) else item, to=to))
    return tuple(found)


def _cache(faults: Faults, path: str, value: Any, *, to: bool) -> Cache:
    given = value.get("type", "registry") if isinstance(value, Mapping) else "registry"
    types = [name for name in _PLACES if to or name != "inline"]
    if given not in types:
        faults.add(f"{path}.type", f"expected one of {', '.join(types)}, got {given!r}")
        return Cache("")
    kind: Any = given
    key = _PLACES[kind][to]
    known = ("type", *([key] if key else []), *(["mode"] if to and key else []))
    parts = faults.mapping(path, value, {name: {} for name in known})
    mode: Any = parts.get("mode", "min")
    if mode not in ("min", "max"):
        faults.add(f"{path}.mode", f"expected min or max, got {mode!r}")
    place = _place(faults, f"{path}.{key}", kind, parts.get(key)) if key else ""
    if kind == "gha":
        # The account of the machine's own GitHub Actions.
        faults.powers.append((path, "own_settings"))
    return Cache(place, mode, kind)


def _place(faults: Faults, path: str, kind: str, value: Any) -> str:
    if kind == "gha" and value is None:
        return ""
    text = check_local_path(faults, path, value) if kind == "local" else faults.text(path, value)
    if text is None:
        return ""
    if kind == "registry":
        faults.attempt(path, Reference.parse, text)
    elif kind == "gha" and not _SCOPE.match(text):
        faults.add(path, f"{text!r} is not a scope; use letters, digits and _ . / -")
    elif re.search(r'[,"]', text):
        faults.add(path, "must not contain a comma or a quotation mark, by which buildx divides it")
    return text
