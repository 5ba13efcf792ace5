# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which build arguments a Dockerfile knows; BuildKit passes over all others."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from ..errors import DockerfileError
from .instructions import Dockerfile
from .parser import InstructionReader, quoted_words
from .shell import shown
from .stages import SYNTAX_ARGUMENT

#: The build argument that builds are given: the source's time, in Unix seconds.
SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH"

# Source: the Dockerfile reference, on predefined, built-in, and automatic platform ARGs.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_PLATFORM_PARTS = ("PLATFORM", "OS", "ARCH", "VARIANT", "OSVERSION")
_PREDEFINED = frozenset(
    (
        *_PROXIES,
        *(name.lower() for name in _PROXIES),
        *(f"{side}{part}" for side in ("TARGET", "BUILD") for part in _PLATFORM_PARTS),
        *("TARGETSTAGE", SOURCE_DATE_EPOCH),
    )
)
# What BuildKit's frontends look for themselves.
_BUILDKIT = "BUILDKIT_"
# What makes another name of what is written as one.
_EXPANDED = re.compile("[$'\"\\\\`]")


def of_time(seconds: int) -> dict[str, str]:
    """What a build is given for a source of that time, in Unix seconds; nothing for 0, which is no time."""
    return {SOURCE_DATE_EPOCH: str(seconds)} if seconds else {}


def undeclared(dockerfile: Dockerfile, build_args: Mapping[str, str]) -> list[str]:
    """The names of ``build_args`` that are predefined nowhere, and that no ARG of ``dockerfile`` declares.

    There are none where that cannot be known: another frontend reads it, or a name has variables in it.
    """
    if dockerfile.syntax or SYNTAX_ARGUMENT in build_args:
        return []
    if any(map(_EXPANDED.search, dockerfile.argument_names)):
        return []
    known = _PREDEFINED | dockerfile.argument_names
    return [name for name in build_args if name not in known and not name.startswith(_BUILDKIT)]


def may_read(dockerfile: Dockerfile, name: str, triggers: Iterable[str] = ()) -> bool:
    """Whether ``dockerfile``, or the ONBUILD ``triggers`` of its bases, may declare ``name`` by ARG.

    What no ARG declares no step can read.
    """
    declared = dockerfile.argument_names | declared_by(triggers)
    return name in declared or any(map(_EXPANDED.search, declared))


def declared_by(triggers: Iterable[str]) -> set[str]:
    """The names that the ONBUILD instructions of an image declare by ARG."""
    found: set[str] = set()
    for trigger in triggers:
        try:
            instructions = list(InstructionReader(trigger))
        except DockerfileError:
            continue
        for instruction in instructions:
            if instruction.keyword == "arg":
                found.update(word.partition("=")[0] for word in quoted_words(instruction.args, "\\"))
    return found


def refuse(names: Iterable[str], dockerfile: Dockerfile) -> None:
    """Raise ``DockerfileError`` (``unknown_build_arg``) for the first of ``names``, if there are any."""
    for name in names:
        declared = sorted(dockerfile.argument_names)
        near = difflib.get_close_matches(name[:100].upper(), [other.upper() for other in declared], 1)
        meant = next((other for other in declared if near and other.upper() == near[0]), "")
        hint = f"Declared are {', '.join(map(shown, declared[:20]))}." if declared else "It has no ARG."
        raise DockerfileError(
            "unknown_build_arg",
            f"build_args names {shown(name)}, which no ARG of the Dockerfile declares.",
            hint=f"Did you mean {shown(meant)}?" if meant else f"Correct it, or leave it out. {hint}",
        )
