# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What concerns the whole request: the document's third part, ``options``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Optional, get_args

Rebuild = Literal["if_changed", "always"]
OnFailure = Literal["continue", "stop", "atomic"]
Provenance = Literal["off", "min", "max"]
#: The values of the options that have a few, the default first.
CHOICES: Mapping[str, tuple[str, ...]] = {
    "rebuild": get_args(Rebuild),
    "on_failure": get_args(OnFailure),
    "provenance": get_args(Provenance),
}
#: The time limit of a request that names none. Emulated builds of several platforms take hours.
DEFAULT_TIMEOUT = 6 * 3600.0


@dataclass(frozen=True)
class Compression:
    """How layers are compressed, in BuildKit's words: ``type`` is ``gzip`` or ``zstd``."""

    type: str
    level: Optional[int] = None


@dataclass(frozen=True)
class Options:
    """The options of a request.

    ``builder`` names an existing buildx builder. ``on_failure`` says what becomes of the other images:
    with ``continue`` they are still built, with ``atomic`` none is pushed before all are built.
    ``timeout`` is in seconds, ``None`` where the document has none (see ``limit``); ``retry_for`` is how many
    seconds temporary failures are tried again for. ``reproducible`` gives files the commit's time. ``sbom``
    adds a bill of materials. ``compression`` is that of all layers, ``None`` where it is the builder's to
    choose. ``delete_images`` removes the pushed images when a deployment is taken down.
    """

    builder: Optional[str] = None
    rebuild: Rebuild = "if_changed"
    on_failure: OnFailure = "continue"
    timeout: Optional[float] = None
    retry_for: float = 60.0
    provenance: Provenance = "off"
    reproducible: bool = False
    sbom: bool = False
    compression: Optional[Compression] = None
    delete_images: bool = False

    @property
    def limit(self) -> float:
        """The time limit for the whole request, in seconds."""
        return DEFAULT_TIMEOUT if self.timeout is None else self.timeout
