# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The image that reads a Dockerfile in BuildKit's place: its frontend.

Rules: BuildKit's ``frontend/dockerfile/builder`` package. The build argument ``BUILDKIT_SYNTAX`` goes before
what the first lines of the Dockerfile ask for, and has the same form; so it also pins what these name, in
whichever of their forms, without a change of the Dockerfile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from ..errors import DockerfileError, Place
from ..oci.reference import Reference
from .instructions import Dockerfile
from .shell import shown
from .stages import SYNTAX_ARGUMENT

#: What to do about a frontend that cannot be had.
FRONTEND_HINT = (
    "It is the image that '# syntax=' in the Dockerfile names: correct that line, or leave it out."
)


@dataclass(frozen=True)
class Frontend:
    """A frontend's image, the ``words`` for it, and the line that names it; ``None`` for a build argument."""

    reference: Reference
    words: str
    line: Optional[int]

    def pinned(self, digest: str) -> dict[str, str]:
        """The build argument by which BuildKit takes this image with ``digest``."""
        value = f"{self.reference.with_digest(digest)} {self.words}"
        return {SYNTAX_ARGUMENT: value.rstrip()}


def frontend_of(dockerfile: Dockerfile, build_args: Mapping[str, str]) -> Optional[Frontend]:
    """The frontend of a build; ``None`` for BuildKit's own. Raises ``DockerfileError``."""
    given = build_args.get(SYNTAX_ARGUMENT)
    line = None if given is not None else _line(dockerfile.text)
    asked = dockerfile.syntax if given is None else given.strip()
    if asked is None:
        return None
    name, _, words = asked.partition(" ")
    try:
        return Frontend(Reference.parse(name), words, line)
    except ValueError as error:
        raise DockerfileError(
            "dockerfile_reference",
            f"The frontend of the Dockerfile cannot be used: {shown(str(error))}.",
            hint=f"Correct its first lines ('# syntax='), or {SYNTAX_ARGUMENT} of build_args.",
            place=Place(line=line),
        ) from None


def _line(text: str) -> int:
    """The line that asks for a frontend."""
    lines = text.lower().split("\n")
    return next((number for number, line in enumerate(lines, 1) if "syntax" in line), 1)
