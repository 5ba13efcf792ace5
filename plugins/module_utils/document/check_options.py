# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The options of a document, checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Optional

from .argument_spec import OPTIONS
from .faults import Faults, kind_of
from .options import CHOICES, Compression, Options

_BUILDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_LONGEST_SECONDS = 7 * 24 * 3600
# The highest level of each compression that BuildKit takes. Its others are not let pass: estargz kills Docker
# Engine 28.5.2, and uncompressed layers only cost.
_LEVELS = {"gzip": 9, "zstd": 22}
_KEYS: dict[str, Any] = {"type": {"type": "str"}, "level": {"type": "int"}}


def check_options(faults: Faults, raw: Any) -> Options:
    """``options`` of a document; what is wrong is added to ``faults``."""
    parts = faults.mapping("options", raw if raw is not None else {}, OPTIONS)
    values: dict[str, Any] = {}
    for name, value in parts.items():
        path = f"options.{name}"
        if name == "builder":
            values[name] = faults.text(path, value)
            if values[name] and not _BUILDER.match(values[name]):
                faults.add(path, f"{value!r} is not the name of a builder")
        elif name in CHOICES:
            values[name] = _choice(faults, path, value, CHOICES[name])
        elif name in ("timeout", "retry_for"):
            values[name] = _seconds(faults, path, value)
        elif name == "compression":
            values[name] = _compression(faults, path, value)
        elif name in OPTIONS:
            values[name] = faults.flag(path, value)
    return Options(**values)


def _choice(faults: Faults, path: str, value: Any, choices: tuple[str, ...]) -> str:
    # YAML reads an unquoted off as false.
    text = "off" if value is False and "off" in choices else value
    if text not in choices:
        faults.add(path, f"expected one of {', '.join(choices)}, got {value!r}")
        return choices[0]
    return str(text)


def _compression(faults: Faults, path: str, value: Any) -> Optional[Compression]:
    parts = faults.mapping(path, value, _KEYS) if isinstance(value, Mapping) else {"type": value}
    kind, level = parts.get("type"), parts.get("level")
    if not isinstance(kind, str) or kind not in _LEVELS:
        where = f"{path}.type" if isinstance(value, Mapping) else path
        faults.add(where, f"expected {' or '.join(_LEVELS)}, got {repr(kind) if kind else kind_of(kind)}")
        return None
    if level is not None and (type(level) is not int or not 0 <= level <= _LEVELS[kind]):
        faults.add(
            f"{path}.level", f"expected a whole number from 0 to {_LEVELS[kind]}, got {kind_of(level)}"
        )
        return None
    return Compression(kind, level)


def _seconds(faults: Faults, path: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _LONGEST_SECONDS:
        faults.add(path, f"expected seconds as a number above 0, up to {_LONGEST_SECONDS}, got {value!r}")
        return 1.0
    return float(value)
