# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Labels of a base image that would tell something wrong of what is built on it.

BuildKit hands all labels of a base on. Those by which an image says what it is, and when and from what it was
built, are true of the base alone; whom to ask, and under which licence it stands, can hold for both. BuildKit
can take none away: an empty one takes its place, unless the build sets it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

from ..errors import DockerfileError
from .instructions import Dockerfile, label_names
from .parser import InstructionReader
from .stages import Resolution

# Source: OCI image specification 1.1, annotations.md, without authors, vendor and licenses.
_PREFIX = "org.opencontainers.image."
_OF_ITSELF = (
    *("created", "source", "revision", "base.name", "base.digest", "version", "ref.name"),
    *("title", "description", "url", "documentation"),
)
# What makes another name of what is written as one.
_EXPANDED = re.compile("[$'\"\\\\`]")


def stale(
    inherited: Collection[str],
    dockerfile: Dockerfile,
    resolutions: Sequence[Resolution],
    triggers: Iterable[str],
) -> tuple[str, ...]:
    """Those of the ``inherited`` labels that are the base's alone, and that the build does not set.

    ``triggers`` are the ONBUILD instructions of bases. There are none where a name cannot be known.
    """
    own = {_unquoted(name) for name in _set(dockerfile, resolutions, triggers)}
    if any(map(_EXPANDED.search, own)):
        return ()
    return tuple(
        _PREFIX + name for name in _OF_ITSELF if _PREFIX + name in inherited and _PREFIX + name not in own
    )


def _set(dockerfile: Dockerfile, resolutions: Sequence[Resolution], triggers: Iterable[str]) -> Iterable[str]:
    """The names, as written, of the labels that the stages which the targets go back to set, and triggers."""
    for index in sorted({used.stage.index for resolution in resolutions for used in resolution.ancestry()}):
        yield from dockerfile.stages[index].labels
    for trigger in triggers:
        try:
            for instruction in InstructionReader(trigger):
                yield from label_names(instruction, "\\")
        except DockerfileError:
            continue  # What cannot be read is BuildKit's to refuse.


def _unquoted(name: str) -> str:
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] and name[0] in "'\"" else name
