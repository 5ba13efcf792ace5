# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A Dockerfile's text as instructions: lines, comments, continuation, directives, flags, heredocs.

It stays ours because no Python package reads heredocs and directives as BuildKit does, or tells where in the
text a word stands.

Rules: BuildKit's ``frontend/dockerfile/parser`` package and the Dockerfile reference. Where
releases differ, the newest one is followed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from ..errors import DockerfileError, Place
from .shell import SPACE, ExpansionError, heredoc_words, shown, unquoted_words

BLANKS = re.compile(r"[\t\v\f\r ]+")

_DIRECTIVE = re.compile(r"#[ \t\n\f\r]*([A-Za-z][A-Za-z0-9]*)[ \t\n\f\r]*=(.+)\Z")
_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_CONTINUED = {"\\": re.compile(r"(?:^|(?<=[^\\]))\\[ \t]*\Z"), "`": re.compile(r"(?:^|(?<=[^`]))`[ \t]*\Z")}
_HEREDOC = re.compile(r"[0-9]*<<(?P<chomp>-?)(?P<blanks>[ \t]*)(?P<word>[^<]+)\Z")
_HEREDOC_INSTRUCTIONS = frozenset({"run", "copy", "add"})


@dataclass(frozen=True)
class Instruction:
    """One instruction: its lower-case ``keyword``, its unquoted ``--flags``, and the rest, ``args``.

    ``line`` counts from 1. ``spans`` tells where ``args`` stand in the text: one
    ``(start, end)`` pair of offsets for each line they stand on.
    """

    keyword: str
    flags: tuple[str, ...]
    args: str
    line: int
    spans: tuple[tuple[int, int], ...] = ()

    def flag_values(self, name: str) -> list[str]:
        """The values of every ``--name=value``."""
        prefix = f"--{name}="
        return [flag[len(prefix) :] for flag in self.flags if flag.startswith(prefix)]

    def inner(self) -> Instruction:
        """The instruction that an ONBUILD holds, else the instruction itself."""
        return _split([(self.args, 0)], self.line) if self.keyword == "onbuild" else self


class InstructionReader:
    """Iterates over a text's instructions.

    ``directives`` holds the parser directives read so far, ``escape`` the escape character in
    force. Iterating raises ``DockerfileError`` (code ``dockerfile_syntax``).
    """

    def __init__(self, text: str) -> None:
        self._lines = _Lines(text)
        self._at_top = True
        self.directives: dict[str, str] = {}

    @property
    def escape(self) -> str:
        """The escape character, a backslash unless a directive says otherwise."""
        return self.directives.get("escape", "\\")

    def __iter__(self) -> Iterator[Instruction]:
        while True:
            pieces, number = self._logical_line()
            if not pieces:
                return
            instruction = _split(pieces, number)
            yield instruction
            self._skip_heredocs(instruction, "".join(piece for piece, _ in pieces))

    def _logical_line(self) -> tuple[list[tuple[str, int]], int]:
        """The next instruction's lines, joined by continuation, as pieces with offsets, and its number.

        Blank lines and comments are left out, also between continued lines. No pieces mean the end.
        """
        pieces: list[tuple[str, int]] = []
        first = 0
        entry = self._lines.next()
        while entry is not None:
            line, offset = entry
            bare = line.lstrip(SPACE)
            if not first:
                line, offset = bare, offset + len(line) - len(bare)
            self._read_directive(line)
            if bare and not bare.startswith("#"):
                first = first or self._lines.number
                continued = _CONTINUED[self.escape].search(line)
                pieces.append((line[: continued.start()] if continued else line, offset))
                if not continued:
                    break
            entry = self._lines.next()
        return pieces, first

    def _read_directive(self, line: str) -> None:
        match = _DIRECTIVE.match(line) if self._at_top else None
        name = match.group(1).lower() if match else ""
        if match is None or name not in _DIRECTIVES:
            self._at_top = False
            return
        value = match.group(2).strip(SPACE)
        if name in self.directives:
            message = f"The parser directive {name} is given twice."
            raise syntax_error(message, "Keep one of them.", self._lines.number)
        if name == "escape" and value not in _CONTINUED:
            message = f"The escape directive names '{shown(value)}'."
            raise syntax_error(message, "It can be \\ or ` and nothing else.", self._lines.number)
        self.directives[name] = value

    def _skip_heredocs(self, instruction: Instruction, line: str) -> None:
        inner = instruction.inner()
        if "<<" not in line or inner.keyword not in _HEREDOC_INSTRUCTIONS or _is_json_array(inner.args):
            return
        for word in heredoc_words(line):
            match = _HEREDOC.match(word)
            if match is None:
                continue
            try:
                names = unquoted_words(match.group("word"))
            except ExpansionError as error:
                message = f"The heredoc {shown(word)} cannot be read: {error}."
                raise syntax_error(message, "Name it by one word.", instruction.line) from None
            # Older releases do not take a blank behind << for a heredoc, as in $((1 << 2)):
            # without a terminator it is left for the BuildKit at hand to judge.
            if (
                len(names) == 1
                and not self._lines.skip_past(names[0], bool(match.group("chomp")))
                and not match.group("blanks")
            ):
                hint = f"End it with a line that holds {shown(names[0])} and nothing else."
                raise syntax_error(f"The heredoc {shown(word)} has no end.", hint, instruction.line)


def syntax_error(message: str, hint: str, line: int) -> DockerfileError:
    """The error for what BuildKit could not read either."""
    return DockerfileError("dockerfile_syntax", message, hint=hint, place=Place(line=line))


class _Lines:
    """The physical lines of a text with their offsets, read one after another."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        self.number = 0

    def next(self) -> Optional[tuple[str, int]]:
        """The next line without its line end, and its offset; ``None`` at the end."""
        if self._offset >= len(self._text):
            return None
        start = self._offset
        end = self._text.find("\n", start)
        self._offset = len(self._text) if end < 0 else end + 1
        self.number += 1
        line = self._text[start : self._offset].rstrip("\r\n")
        if self.number == 1 and line.startswith("\ufeff"):
            return line[1:], start + 1
        return line, start

    def skip_past(self, terminator: str, chomp: bool) -> bool:
        """Move behind the line that ends a heredoc; without one stay and return ``False``."""
        before = self._offset, self.number
        entry = self.next()
        while entry is not None:
            if (entry[0].lstrip("\t") if chomp else entry[0]) == terminator:
                return True
            entry = self.next()
        self._offset, self.number = before
        return False


def _split(pieces: list[tuple[str, int]], number: int) -> Instruction:
    line = "".join(piece for piece, _ in pieces)
    start = len(line) - len(line.lstrip(SPACE))
    end = max(start, len(line.rstrip(SPACE)))
    blanks = BLANKS.search(line, start, end)
    if blanks is None:
        return Instruction(line[start:end].lower(), (), "", number)
    flags, position = _flags(line, blanks.end(), end)
    args = line[position:end].lstrip(SPACE)
    spans = _spans(pieces, end - len(args), end)
    return Instruction(line[start : blanks.start()].lower(), flags, args, number, spans)


def _flags(line: str, position: int, end: int) -> tuple[tuple[str, ...], int]:
    """The words with ``--`` in front, unquoted, and the position behind them.

    Their escape character is always the backslash, whatever the escape directive says.
    """
    flags: list[str] = []
    while True:
        while position < end and line[position] in SPACE:
            position += 1
        if not line.startswith("--", position, end):
            return tuple(flags), position
        word = ""
        quote = ""
        while position < end and (quote or line[position] not in SPACE):
            char = line[position]
            position += 1
            if char == "\\":
                word += line[position] if position < end else ""
                position += 1
            elif quote:
                if char == quote:
                    quote = ""
                else:
                    word += char
            elif char in "'\"":
                quote = char
            else:
                word += char
        position = min(position, end)
        if word == "--":
            return tuple(flags), position
        flags.append(word)


def _spans(pieces: list[tuple[str, int]], start: int, end: int) -> tuple[tuple[int, int], ...]:
    """Where the characters ``start`` to ``end`` of the joined pieces stand in the text."""
    spans: list[tuple[int, int]] = []
    for piece, offset in pieces:
        first, last = max(start, 0), min(end, len(piece))
        if first < last:
            spans.append((offset + first, offset + last))
        start -= len(piece)
        end -= len(piece)
    return tuple(spans)


def quoted_words(text: str, escape: str) -> list[str]:
    """The words of ``text``, separated by blanks outside quotes; quotes and escapes are kept."""
    words: list[str] = []
    word = ""
    quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if not quote and char in SPACE:
            if word:
                words.append(word)
            word = ""
            continue
        if char == escape and quote != "'":
            if position == len(text):
                break
            word += char
            char = text[position]
            position += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        word += char
    if word:
        words.append(word)
    return words


def _is_json_array(args: str) -> bool:
    if not args.startswith("["):
        return False
    try:
        value = json.loads(args, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, list)


def _refuse(constant: str) -> None:
    raise ValueError(constant)
