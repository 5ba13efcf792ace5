# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What the ONBUILD instructions of a base image do in the stages that start from it.

They stand in the image's config, not in the Dockerfile. Rules: BuildKit's ``initOnBuildTriggers``; since the
Dockerfile's version 1.11 they may name images and stages, as those in a Dockerfile.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..errors import DockerfileError
from .instructions import FromFlag, from_flags
from .parser import InstructionReader
from .statements import Statement, statement_of


@dataclass(frozen=True)
class Triggers:
    """What acts in a stage beside its own instructions, each as in a ``Stage``.

    Flags have no ``spans``, since nothing of them is in the Dockerfile.
    """

    runs: bool = False
    from_flags: tuple[FromFlag, ...] = ()
    statements: tuple[Statement, ...] = ()


#: Those of most images.
NO_TRIGGERS = Triggers()


def read_triggers(texts: Iterable[str], line: int) -> Triggers:
    """The ``texts`` of a base's ONBUILD, for the stage on ``line``. What cannot be read BuildKit refuses."""
    instructions = []
    for text in texts:
        try:
            instructions += list(InstructionReader(text))
        except DockerfileError:
            continue
    return Triggers(
        any(each.keyword == "run" for each in instructions),
        tuple(flag.triggered(line) for each in instructions for flag in from_flags(each)),
        tuple(statement for each in instructions if (statement := statement_of(each, line, "\\"))),
    )
