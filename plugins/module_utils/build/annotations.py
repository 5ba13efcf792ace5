# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Where an image comes from, in the words of the OCI image specification (annotations.md)."""

from __future__ import annotations

from datetime import datetime, timezone

from ..dockerfile.build_args import SOURCE_DATE_EPOCH
from ..document.target import Image
from .build_input import BuildInput
from .planned import Planned

_PREFIX = "org.opencontainers.image."


def describe(source: BuildInput, image: Planned) -> dict[str, str]:
    """Annotations for ``image``: source, revision, time, and the base that its target stage stands on.

    The base is left out where it differs between the platforms.
    """
    found = {}
    if source.url:
        found["source"] = source.url
    if source.revision:
        found["revision"] = source.revision
    created = _created(source, image.head.image)
    if created:
        found["created"] = created
    foundations = {
        resolution.platform: resolution.foundation().stage.index for resolution in image.recipe.resolutions
    }
    bases = {
        (str(planned.base.reference), planned.digest)
        for planned in image.head.bases
        if foundations[planned.base.platform] == planned.base.stage
    }
    if len(bases) == 1:
        found["base.name"], found["base.digest"] = bases.pop()
    return {_PREFIX + name: value for name, value in found.items()}


def _created(source: BuildInput, image: Image) -> str:
    """The time that BuildKit gives the image, empty where that is the time of the build."""
    try:
        seconds = int(image.build_args.get(SOURCE_DATE_EPOCH) or source.committed_at)
        made = datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return ""  # for BuildKit to refuse
    return made.strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else ""
