# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What concerns the whole request: the document's third part, ``options``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Optional, get_args

from .faults import Faults

_BUILDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*\Z")
Rebuild = Literal["if_changed", "always"]
OnFailure = Literal["continue", "stop", "atomic"]
Provenance = Literal["off", "min", "max"]
#: The values of the options that have a few, the default first.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "rebuild": get_args(Rebuild),
    "on_failure": get_args(OnFailure),
    "provenance": get_args(Provenance),
}
_LONGEST_SECONDS = 7 * 24 * 3600
#: The time limit of a request that names none. Emulated builds of several platforms take hours.
DEFAULT_TIMEOUT = 6 * 3600.0


@dataclass(frozen=True)
class Options:
    """The options of a request.

    ``builder`` names an existing buildx builder. ``on_failure`` says what becomes of the other images:
    with ``continue`` they are still built, with ``atomic`` none is pushed before all are built.
    ``timeout`` is in seconds, ``None`` where the document has none (see ``limit``); ``retry_for`` is how many
    seconds temporary failures are tried again for. ``reproducible`` gives files the commit's time. ``sbom``
    adds a bill of materials. ``delete_images`` removes the pushed images when a deployment is taken down.
    """

    builder: Optional[str] = None
    rebuild: Rebuild = "if_changed"
    on_failure: OnFailure = "continue"
    timeout: Optional[float] = None
    retry_for: float = 60.0
    provenance: Provenance = "off"
    reproducible: bool = False
    sbom: bool = False
    delete_images: bool = False

    @property
    def limit(self) -> float:
        """The time limit for the whole request, in seconds."""
        return DEFAULT_TIMEOUT if self.timeout is None else self.timeout


def check_options(faults: Faults, raw: Any) -> Options:
    """``options`` of a document; what is wrong is added to ``faults``."""
    known = tuple(Options.__dataclass_fields__)
    parts = faults.mapping("options", raw if raw is not None else {}, known)
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
        elif name in known:
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
