# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Dockerfiles that would end the engine, and with it every other build on it.

``${X#}`` and ``${X%}`` without a pattern make BuildKit's word expansion read past the end of an
empty string: tried on Docker Engine 26.1.5, whose daemon dies. A pattern that is only known to be
empty after expansion, such as ``${X#$Y}``, does the same, so there it is refused as well.
"""

from __future__ import annotations

import re

from ..errors import DockerfileError, Place
from .parser import InstructionReader

# These words are the shell's in the container, or kept as they are.
_NOT_EXPANDED = frozenset({"run", "cmd", "entrypoint", "shell", "healthcheck", "maintainer"})
_EMPTY_PATTERN = re.compile(r"\$\{\w*:?[#%]\}")
_OPEN_PATTERN = re.compile(r"\$\{\w*:?[#%]['\"$\\`}]")
_LAST_FRAGILE_ENGINE = 26


def refuse_hazards(text: str, engine_version: str) -> None:
    """Raise ``DockerfileError`` (``dockerfile_hazard``) where ``text`` would end such an engine."""
    major = engine_version.partition(".")[0]
    fragile = not major.isdigit() or int(major) <= _LAST_FRAGILE_ENGINE
    pattern = _OPEN_PATTERN if fragile else _EMPTY_PATTERN
    instructions = list(InstructionReader(text))
    starts = [instruction.spans[0][0] for instruction in instructions if instruction.spans]
    for instruction in instructions:
        if instruction.inner().keyword in _NOT_EXPANDED or not instruction.spans:
            continue
        # Up to the next instruction, so that the heredocs of COPY and ADD are seen too.
        end = min((start for start in starts if start > instruction.spans[0][0]), default=len(text))
        match = pattern.search(text, instruction.spans[0][0], end) or pattern.search(instruction.args)
        if match:
            raise DockerfileError(
                "dockerfile_hazard",
                f"The expansion {match.group(0)} would crash the Docker Engine.",
                hint="Give it a pattern, as in ${VERSION#v}, or leave it out.",
                place=Place(line=instruction.line),
            )
