# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Dockerfiles as BuildKit reads them: global arguments, stages, and where each names its base.

Rules: BuildKit's ``frontend/dockerfile/instructions`` package. Only what decides which images a
build starts from is judged; all else is left for BuildKit to check.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Optional

from ..errors import DockerfileError
from ..oci.reference import Reference
from .form import KEYWORDS, fault_of, fault_where_used
from .mounts import mount_from, with_mount_from
from .parser import (
    BLANKS,
    Instruction,
    InstructionReader,
    external_syntax,
    quoted_flag,
    quoted_words,
    syntax_error,
)
from .shell import shown
from .statements import Statement, statement_of

#: The base that is no image, unless an earlier stage has its name.
SCRATCH = "scratch"

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*\Z")


@dataclass(frozen=True)
class Argument:
    """A global ``ARG``: one before the first FROM. ``default`` is as written, ``None`` without one."""

    name: str
    default: Optional[str]
    line: int


@dataclass(frozen=True)
class FromFlag:
    """What ``COPY --from=`` or ``RUN --mount=…,from=`` names: a stage or an image.

    ``instruction`` is ``COPY`` or ``RUN``; only COPY also takes a stage's index. With
    ``onbuild`` it acts in the stages that start from the one that holds it. ``spans`` are those of the whole
    flag, whose unquoted value is ``value``; ``escape`` is the escape character that it is read with.
    """

    instruction: str
    name: str
    line: int
    onbuild: bool = False
    value: str = ""
    spans: tuple[tuple[int, int], ...] = ()
    escape: str = "\\"

    def triggered(self, line: int) -> FromFlag:
        """The same, of the ONBUILD of a base image in the stage on ``line``."""
        return replace(self, line=line, spans=())

    def pinned(self, reference: Reference) -> str:
        """The flag as it is written to name ``reference`` instead."""
        if self.instruction == "COPY":
            return quoted_flag("from", str(reference), self.escape)
        return quoted_flag("mount", with_mount_from(self.value, str(reference)), self.escape)


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it.

    ``name`` is the lower-case name behind AS, or empty. ``base`` and ``platform`` are the
    words as written (``platform`` empty without the flag). ``base_spans`` are the
    ``(start, end)`` offsets of the base's characters in the Dockerfile's text, one pair for
    each line they stand on. ``runs`` tells whether it has RUN instructions, ``onbuild_runs``
    whether it gives some to the stages that start from it; ``statements`` are those that decide
    what ADD fetches; ``labels`` are the names that its LABEL instructions set, as written, those of
    ONBUILD too. ``used_fault`` is why BuildKit refuses the stage where a build needs it,
    ``onbuild_fault`` why it refuses what the stage gives to others. ``line`` counts from 1.
    """

    index: int
    name: str
    base: str
    platform: str
    line: int
    base_spans: tuple[tuple[int, int], ...]
    runs: bool = False
    onbuild_runs: bool = False
    from_flags: tuple[FromFlag, ...] = ()
    statements: tuple[Statement, ...] = ()
    onbuild_statements: tuple[Statement, ...] = ()
    labels: tuple[str, ...] = ()
    used_fault: Optional[DockerfileError] = None
    onbuild_fault: Optional[DockerfileError] = None

    def __str__(self) -> str:
        name = f" ({self.name})" if self.name else ""
        return f"stage {self.index}{name} on line {self.line} starts from {shown(self.base)}"


@dataclass(frozen=True)
class Dockerfile:
    """A parsed Dockerfile.

    ``escape`` is its escape character; ``syntax`` the frontend image its first lines ask for, perhaps with
    words for it, or ``None``; ``arguments`` are the global ones, in order; ``argument_names`` those of all
    ARG instructions, of ONBUILD too. ``fault`` is why BuildKit's own frontend refuses the first instruction
    that it refuses; other frontends may know more.
    """

    text: str
    escape: str
    syntax: Optional[str]
    arguments: tuple[Argument, ...]
    stages: tuple[Stage, ...]
    argument_names: frozenset[str] = frozenset()
    fault: Optional[DockerfileError] = None


def parse(text: str) -> Dockerfile:
    """Read a Dockerfile's ``text``, line ends as they are in the file.

    Raises ``DockerfileError`` (codes ``dockerfile_syntax`` and ``dockerfile_without_stage``).
    """
    reader = InstructionReader(text)
    syntax = external_syntax(text)
    arguments: list[Argument] = []
    names: set[str] = set()
    groups: list[list[Instruction]] = []
    fault: Optional[DockerfileError] = None
    for instruction in reader:
        fault = fault or fault_of(instruction, reader.escape)
        inner = instruction.inner()
        if inner.keyword == "arg":
            names.update(word.partition("=")[0] for word in quoted_words(inner.args, reader.escape))
        if instruction.keyword == "from":
            groups.append([instruction])
        elif groups:
            groups[-1].append(instruction)
        elif instruction.keyword == "arg":
            arguments.extend(_arguments(instruction, reader.escape))
        elif instruction.keyword in KEYWORDS:
            message = f"{instruction.keyword.upper()} stands before the first FROM."
            raise syntax_error(message, "Only ARG may stand before it.", instruction.line)
        elif fault and not syntax:
            raise fault
    if not groups:
        raise DockerfileError(
            "dockerfile_without_stage",
            "The Dockerfile has no FROM instruction.",
            hint="Check that the right file is named and that it is a Dockerfile.",
        )
    return Dockerfile(
        text,
        reader.escape,
        syntax or None,
        tuple(arguments),
        tuple(_stage(index, group, reader.escape) for index, group in enumerate(groups)),
        frozenset(names),
        None if syntax else fault,
    )


def _arguments(instruction: Instruction, escape: str) -> list[Argument]:
    words = quoted_words(instruction.args, escape)
    if not words or any(word.startswith("=") for word in words):
        hint = "Write ARG NAME or ARG NAME=default."
        raise syntax_error("ARG does not name a variable.", hint, instruction.line)
    parts = [word.partition("=") for word in words]
    return [Argument(name, value if equals else None, instruction.line) for name, equals, value in parts]


def _stage(index: int, group: list[Instruction], escape: str) -> Stage:
    head = group[0]
    words = BLANKS.split(head.args)
    if not head.args or len(words) not in (1, 3) or (len(words) == 3 and words[1].casefold() != "as"):
        hint = "Write FROM [--platform=os/architecture] base [AS name]."
        raise syntax_error("FROM is not of its form.", hint, head.line)
    commands = [(instruction.inner(), instruction.keyword == "onbuild") for instruction in group[1:]]
    return Stage(
        index=index,
        name=_stage_name(words[2], head.line) if len(words) == 3 else "",
        base=words[0],
        platform=_platform(head),
        line=head.line,
        base_spans=_first_characters(head.spans, len(words[0])),
        runs=any(command.keyword == "run" and not onbuild for command, onbuild in commands),
        onbuild_runs=any(command.keyword == "run" and onbuild for command, onbuild in commands),
        from_flags=tuple(
            replace(flag, onbuild=onbuild, escape="\\" if onbuild else escape)
            for command, onbuild in commands
            for flag in from_flags(command)
        ),
        statements=_statements((each for each, onbuild in commands if not onbuild), escape),
        onbuild_statements=_statements((each for each, onbuild in commands if onbuild), "\\"),
        labels=tuple(name for command, _ in commands for name in label_names(command, escape)),
        used_fault=_first(fault_where_used(command, escape) for command, onbuild in commands if not onbuild),
        onbuild_fault=_first(
            fault_of(command, escape) or fault_where_used(command, escape)
            for command, onbuild in commands
            if onbuild
        ),
    )


def _statements(commands: Iterable[Instruction], escape: str) -> tuple[Statement, ...]:
    found = (statement_of(command, command.line, escape) for command in commands)
    return tuple(statement for statement in found if statement)


def _first(faults: Iterable[Optional[DockerfileError]]) -> Optional[DockerfileError]:
    return next(filter(None, faults), None)


def _platform(head: Instruction) -> str:
    if not head.flags:
        return ""
    for flag in head.flags:
        name = flag[2:].partition("=")[0]
        if name != "platform":
            raise syntax_error(
                f"FROM has the unknown flag --{shown(name)}.", "It knows --platform only.", head.line
            )
    values = head.flag_values("platform")
    if len(head.flags) != 1 or len(values) != 1:
        hint = "Write --platform=os/architecture once."
        raise syntax_error("FROM does not give --platform one value.", hint, head.line)
    return values[0]


def _stage_name(word: str, line: int) -> str:
    name = word.lower()
    # BuildKit looks for a named context of each stage's name, so it must be a repository's name too.
    if not _STAGE_NAME.match(name) or not _is_reference(name):
        hint = "Begin with a letter; go on with letters, digits, and single separators (- _ .) in between."
        raise syntax_error(f"'{shown(word)}' cannot be a stage's name.", hint, line)
    return name


def _is_reference(text: str) -> bool:
    try:
        Reference.parse(text)
    except ValueError:
        return False
    return True


def _first_characters(spans: tuple[tuple[int, int], ...], count: int) -> tuple[tuple[int, int], ...]:
    result: list[tuple[int, int]] = []
    for start, end in spans:
        if count > 0:
            result.append((start, min(end, start + count)))
        count -= end - start
    return tuple(result)


def label_names(command: Instruction, escape: str) -> list[str]:
    """The names, as written, of what a LABEL sets: ``NAME=VALUE …``, or the older ``NAME VALUE``."""
    if command.keyword != "label":
        return []
    words = quoted_words(command.args, escape)
    pairs = words if words and "=" in words[0] else words[:1]
    return [word.partition("=")[0] for word in pairs]


def from_flags(command: Instruction) -> Iterator[FromFlag]:
    """The flags of a COPY or RUN that name a stage or an image."""
    for flag, spans in zip(command.flags, command.flag_spans):
        name, _, value = flag.partition("=")
        if command.keyword == "copy" and name == "--from" and value:
            yield FromFlag("COPY", value, command.line, value=value, spans=spans)
        elif command.keyword == "run" and name == "--mount" and "=" in flag:
            # A mount of nothing named is one of scratch for BuildKit, and that can be a stage's name.
            yield FromFlag("RUN", mount_from(value) or SCRATCH, command.line, value=value, spans=spans)
