# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The instructions that decide what ADD fetches: ADD, and those that give it variables, ARG and ENV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union

from .parser import BLANKS, Instruction, json_array, quoted_words


@dataclass(frozen=True)
class Assignment:
    """An ARG or an ENV: names and values as written, ``None`` for an ARG without a value.

    ``escape`` is the escape character that it is read with.
    """

    names: tuple[tuple[str, Optional[str]], ...]
    is_argument: bool
    escape: str = "\\"


@dataclass(frozen=True)
class Add:
    """An ADD: its ``sources`` and the values of ``--checksum`` as written; else as an ``Assignment``."""

    sources: tuple[str, ...]
    checksums: tuple[str, ...]
    line: int
    escape: str = "\\"


Statement = Union[Assignment, Add]


def statement_of(command: Instruction, line: int, escape: str) -> Optional[Statement]:
    """``command``, told as one on ``line``, where it is one of these."""
    if command.keyword == "add":
        listed = json_array(command.args)
        words = [str(word) for word in listed] if listed is not None else BLANKS.split(command.args)
        checksums = tuple(command.flag_values("checksum"))
        return Add(tuple(words[:-1]), checksums, line, escape)
    if command.keyword not in ("arg", "env"):
        return None
    words = quoted_words(command.args, escape)
    parts = [word.partition("=") for word in words]
    names = tuple((name, value if equals else None) for name, equals, value in parts)
    if command.keyword == "env" and words and not parts[0][1]:
        name, *rest = BLANKS.split(command.args, 1)
        names = ((name, rest[0] if rest else ""),)
    return Assignment(names, command.keyword == "arg", escape)
