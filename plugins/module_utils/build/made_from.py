# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What an image says that it was made from, so that results tell of an unchanged image what stands in it.

The plan of a later run may look at another commit with the same files, or at bases that have other names or
other digests by now, with the same content for the platforms that are built. The user's own annotations can
stand in the place of those that the OCI image specification has for it, and those know of one base only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ..oci.digest import is_digest
from ..oci.reference import Reference
from .planned import PlannedBase

#: The annotation of a pushed index (or of a single manifest) that says what it was made from.
MADE_FROM = "eu.sodalite.image-builder.made-from"


@dataclass(frozen=True)
class MadeFrom:
    """The revision of the source, as a ``SourceTree`` has it, and the bases."""

    revision: str
    bases: tuple[PlannedBase, ...]

    def to_text(self) -> str:
        """For the annotation, as JSON: each base once, with the platforms of each stage that stands on it."""
        found: dict[tuple[str, str, bool], dict[str, list[str]]] = {}
        for planned in self.bases:
            base = planned.base
            stages = found.setdefault((str(base.reference), planned.digest, base.overridden), {})
            stages.setdefault(str(base.stage), []).append(str(base.platform))
        bases = [
            {"reference": reference, "digest": digest, "overridden": overridden, "stages": stages}
            for (reference, digest, overridden), stages in found.items()
        ]
        return json.dumps({"revision": self.revision, "bases": bases}, separators=(",", ":"))


def recall(annotations: Mapping[str, str], planned: Sequence[PlannedBase]) -> Optional[MadeFrom]:
    """What the image with these ``annotations`` was made from; ``None`` where it does not say.

    ``planned`` are the bases that it would have now, for the same stages and platforms.
    """
    try:
        content = json.loads(annotations.get(MADE_FROM, ""))
        revision, held = content["revision"], _by_place(content["bases"])
        bases = tuple(_as_held(base, held[base.base.stage, str(base.base.platform)]) for base in planned)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return MadeFrom(revision, bases) if isinstance(revision, str) else None


def _by_place(bases: Any) -> dict[tuple[int, str], Mapping[str, Any]]:
    return {
        (int(stage), platform): base
        for base in bases
        for stage, platforms in base["stages"].items()
        for platform in platforms
    }


def _as_held(planned: PlannedBase, held: Mapping[str, Any]) -> PlannedBase:
    digest = held["digest"]
    if not isinstance(digest, str) or not is_digest(digest):
        raise ValueError("a digest in it is damaged")
    base = replace(
        planned.base, reference=Reference.parse(held["reference"]), overridden=held["overridden"] is True
    )
    return PlannedBase(base, digest)
