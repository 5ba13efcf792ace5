# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Dockerfiles that would end the engine, and with it every other build on it.

``${X#}`` and ``${X%}`` without a pattern make BuildKit's word expansion read past the end of an
empty string: tried on Docker Engine 26.1.5, whose daemon dies, and on 28.5, which lives. A pattern that is
only known to be empty after expansion, such as ``${X#$Y}``, does the same, so it is refused as well.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import DockerfileError, Place
from .mounts import mount_fields
from .parser import BLANKS, Instruction, InstructionReader, json_array, quoted_words
from .shell import empty_pattern, shown

_LAST_FRAGILE_ENGINE = 27


def is_fragile(engine_version: str) -> bool:
    """Whether a Dockerfile can end an engine of this version; one that tells none is taken for such."""
    major = engine_version.partition(".")[0]
    return not major.isdigit() or int(major) <= _LAST_FRAGILE_ENGINE


def refuse_hazards(text: str, engine_version: str) -> None:
    """Raise ``DockerfileError`` (``dockerfile_hazard``) where ``text`` would end such an engine.

    ``text`` is a Dockerfile, or an instruction that an image has for builds on it.
    """
    if not is_fragile(engine_version):
        return
    reader = InstructionReader(text)
    for instruction in reader:
        inner = instruction.inner()
        found = [empty_pattern(word, reader.escape) for word in _expanded(inner, reader.escape)]
        if inner.keyword in ("add", "copy"):
            # Their quotes are the file's own, and their escape character is always the backslash.
            found += [
                empty_pattern(heredoc.body, "\\", quotes=False)
                for heredoc in inner.heredocs
                if heredoc.expanded
            ]
        expansion = next(filter(None, found), "")
        if expansion:
            raise DockerfileError(
                "dockerfile_hazard",
                f"The expansion {shown(expansion)} would crash the Docker Engine {engine_version}.",
                hint="Give it a pattern, as in ${VERSION#v}, leave it out, or build on a newer engine.",
                place=Place(line=instruction.line),
            )


def _expanded(instruction: Instruction, escape: str) -> Iterator[str]:
    """The words of ``instruction`` that BuildKit expands, each on its own.

    Those of RUN, CMD and their like are the shell's in the container.
    """
    keyword, args = instruction.keyword, instruction.args
    if keyword == "run":
        for mount in instruction.flag_values("mount"):
            yield from (value for _, _, value in mount_fields(mount) or [])
        return
    if keyword in ("from", "add", "copy"):
        yield from (flag.partition("=")[2] for flag in instruction.flags)
    if keyword in ("arg", "env", "label"):
        words = quoted_words(args, escape)
        if keyword != "arg" and words and "=" not in words[0]:
            yield from BLANKS.split(args, 1)
        for word in words:
            key, _, value = word.partition("=")
            yield from (key, value)
    elif keyword in ("add", "copy", "volume"):
        values = json_array(args)
        yield from BLANKS.split(args) if values is None else (v for v in values if isinstance(v, str))
    elif keyword in ("from", "expose"):
        yield from BLANKS.split(args)
    elif keyword in ("user", "workdir", "stopsignal"):
        yield args
