# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The options of a document, checked."""

from __future__ import annotations

import re
from typing import Any

from .argument_spec import OPTIONS
from .faults import Faults
from .options import CHOICES, Options

_BUILDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
_LONGEST_SECONDS = 7 * 24 * 3600


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


def _seconds(faults: Faults, path: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _LONGEST_SECONDS:
        faults.add(path, f"expected seconds as a number above 0, up to {_LONGEST_SECONDS}, got {value!r}")
        return 1.0
    return float(value)
