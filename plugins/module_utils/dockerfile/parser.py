# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A Dockerfile's text as instructions: lines, comments, continuation, directives, flags, heredocs.

It stays ours because no Python package reads heredocs and directives as BuildKit does, or tells where in the
text a word stands.

Rules: BuildKit's ``frontend/dockerfile/parser`` package and the Dockerfile reference. Where
releases differ, the newest one is followed.
"""

from __future__ import annotations

import bisect
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Optional

from ..errors import DockerfileError, Place
from .shell import SPACE, ExpansionError, heredoc_words, shown, unquoted_words

BLANKS = re.compile(r"[\t\v\f\r ]+")
#: BuildKit reads no longer line, in bytes without its end.
LONGEST_LINE = (1 << 16) - 1

_COMMENT_DIRECTIVE = re.compile(r"#[\t\n\f\r ]*([A-Za-z][A-Za-z0-9]*)[\t\n\f\r ]*=(.+)\Z")
_SLASHES_DIRECTIVE = re.compile(r"//[\t\n\f\r ]*([A-Za-z][A-Za-z0-9]*)[\t\n\f\r ]*=(.+)\Z")
_DIRECTIVE_BLANKS = "\t\n\f\r "
_DIRECTIVES = frozenset({"syntax", "escape", "check"})
_CONTINUED = {"\\": re.compile(r"(?:^|(?<=[^\\]))\\[ \t]*\Z"), "`": re.compile(r"(?:^|(?<=[^`]))`[ \t]*\Z")}
_LATIN_SPACE = "\t\n\v\f\r \x85\xa0"
_HEREDOC = re.compile(r"[0-9]*<<(?P<chomp>-?)(?P<blanks>[ \t\r]*)(?P<word>[^<]*)\Z")
_HEREDOC_INSTRUCTIONS = frozenset({"run", "copy", "add"})


@dataclass(frozen=True)
class Heredoc:
    """The body of a heredoc, and whether variables in it are replaced where COPY and ADD write it."""

    body: str
    expanded: bool


@dataclass(frozen=True)
class Instruction:
    """One instruction: its lower-case ``keyword``, its unquoted ``--flags``, and the rest, ``args``.

    ``line`` counts from 1. ``spans`` tells where ``args`` stand in the text: one
    ``(start, end)`` pair of offsets for each line they stand on; ``flag_spans`` tells the same of each flag.
    ``heredocs`` are those behind it.
    """

    keyword: str
    flags: tuple[str, ...]
    args: str
    line: int
    spans: tuple[tuple[int, int], ...] = ()
    flag_spans: tuple[tuple[tuple[int, int], ...], ...] = ()
    heredocs: tuple[Heredoc, ...] = ()

    def flag_values(self, name: str) -> list[str]:
        """The values of every ``--name=value``."""
        prefix = f"--{name}="
        return [flag[len(prefix) :] for flag in self.flags if flag.startswith(prefix)]

    def inner(self) -> Instruction:
        """The instruction that an ONBUILD holds, else the instruction itself.

        What an ONBUILD holds is read where it acts, and there the escape character is the backslash again.
        """
        if self.keyword != "onbuild":
            return self
        pieces, position = [], 0
        for start, end in self.spans:
            pieces.append((self.args[position : position + end - start], start))
            position += end - start
        return replace(_split(pieces, self.line, "\\"), heredocs=self.heredocs)


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
            instruction = _split(pieces, number, self.escape)
            line = "".join(piece for piece, _ in pieces)
            yield replace(instruction, heredocs=tuple(self._read_heredocs(instruction, line)))

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
            if self._at_top:
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
        directive = _directive(_COMMENT_DIRECTIVE, line)
        if directive is None:
            self._at_top = False
            return
        name, value = directive
        if name in self.directives:
            message = f"The parser directive {name} is given twice."
            raise syntax_error(message, "Keep one of them.", self._lines.number)
        if name == "escape" and value not in _CONTINUED:
            message = f"The escape directive names '{shown(value)}'."
            raise syntax_error(message, "It can be \\ or ` and nothing else.", self._lines.number)
        self.directives[name] = value

    def _read_heredocs(self, instruction: Instruction, line: str) -> Iterator[Heredoc]:
        if "<<" not in line:
            return
        inner = instruction
        if instruction.keyword == "onbuild":
            inner = _split([(instruction.args, 0)], instruction.line, self.escape)
        if inner.keyword not in _HEREDOC_INSTRUCTIONS or _is_json_array(inner.args):
            return
        for word in heredoc_words(line):
            match = _HEREDOC.match(word)
            if match is None or not match.group("word"):
                continue
            try:
                names = unquoted_words(match.group("word"))
                raw = unquoted_words(match.group("word"), raw_quotes=True)
            except ExpansionError as error:
                message = f"The heredoc {shown(word)} cannot be read: {error}."
                raise syntax_error(message, "Name it by one word.", instruction.line) from None
            if len(names) != 1:
                continue
            body = self._lines.read_past(names[0], bool(match.group("chomp")))
            if body is not None:
                yield Heredoc(body, _quotes(names) == _quotes(raw))
            # Older releases do not take a blank behind << for a heredoc, as in $((1 << 2)):
            # without a terminator it is left for the BuildKit at hand to judge.
            elif not match.group("blanks"):
                hint = f"End it with a line that holds {shown(names[0])} and nothing else."
                raise syntax_error(f"The heredoc {shown(word)} has no end.", hint, instruction.line)


def external_syntax(text: str) -> Optional[str]:
    """The frontend's image that the first lines of ``text`` ask for, perhaps with words for it, or ``None``.

    BuildKit looks for it before it reads the Dockerfile, and by rules of their own: behind a first line with
    ``#!``, and in comments with ``//`` and in JSON too. Source: ``directives.go`` of its parser package.
    """
    text = text[1:] if text.startswith("\ufeff") else text
    if text.startswith("#!"):
        text = text.partition("\n")[2]
    for pattern in (_COMMENT_DIRECTIVE, _SLASHES_DIRECTIVE):
        seen: set[str] = set()
        lines = _Lines(text)
        entry = lines.next()
        while entry is not None:
            directive = _directive(pattern, entry[0])
            if directive is None or directive[0] in seen:
                break
            name, value = directive
            if name == "syntax":
                return value
            seen.add(name)
            entry = lines.next()
    if text.lstrip("\t\n\r ").startswith("{"):
        try:
            value = json.loads(text, parse_constant=_refuse)["syntax"]
        except (ValueError, RecursionError, KeyError):
            return None
        return value if isinstance(value, str) else None
    return None


def _directive(pattern: re.Pattern[str], line: str) -> Optional[tuple[str, str]]:
    match = pattern.match(line)
    if match is None or match.group(1).lower() not in _DIRECTIVES:
        return None
    return match.group(1).lower(), match.group(2).strip(_DIRECTIVE_BLANKS)


def _quotes(words: list[str]) -> int:
    return sum(word.count("'") + word.count('"') for word in words)


def syntax_error(message: str, hint: str, line: int) -> DockerfileError:
    """The error for what BuildKit could not read either."""
    return DockerfileError("dockerfile_syntax", message, hint=hint, place=Place(line=line))


class _Lines:
    """The physical lines of a text with their offsets, read one after another."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        self.number = 0
        # Where each line starts that can end a heredoc, by the line, and by the line without leading tabs.
        self._starts: dict[bool, dict[str, list[tuple[int, int]]]] = {}

    def next(self) -> Optional[tuple[str, int]]:
        """The next line without its line end, and its offset; ``None`` at the end."""
        if self._offset >= len(self._text):
            return None
        start = self._offset
        end = self._text.find("\n", start)
        self._offset = len(self._text) if end < 0 else end + 1
        self.number += 1
        line = self._text[start : self._offset]
        if len(line) > LONGEST_LINE // 4 and len(line.encode("utf-8", "surrogateescape")) > LONGEST_LINE + (
            end >= 0
        ):
            message = f"The line is longer than {LONGEST_LINE} bytes, more than BuildKit reads."
            raise syntax_error(message, "Break it into several lines.", self.number)
        line = line.rstrip("\r\n")
        if self.number == 1 and line.startswith("\ufeff"):
            return line[1:], start + 1
        return line, start

    def read_past(self, terminator: str, chomp: bool) -> Optional[str]:
        """Move behind the line that ends a heredoc and give what stands before it; without one stay."""
        # Looked up rather than looked for: many that have no end would each read the rest of the text.
        if chomp not in self._starts:
            self._starts[chomp] = self._index(chomp)
        starts = self._starts[chomp].get(terminator, [])
        place = bisect.bisect_left(starts, (self._offset, 0))
        if place == len(starts):
            return None
        end, number = starts[place]
        body = self._text[self._offset : end]
        self._offset, self.number = end, number - 1
        self.next()
        return body

    def _index(self, chomp: bool) -> dict[str, list[tuple[int, int]]]:
        starts: dict[str, list[tuple[int, int]]] = {}
        rest = _Lines(self._text)
        rest._offset, rest.number = self._offset, self.number
        offset = rest._offset
        entry = rest.next()
        while entry is not None:
            line = entry[0].lstrip("\t") if chomp else entry[0]
            starts.setdefault(line, []).append((offset, rest.number))
            offset = rest._offset
            entry = rest.next()
        return starts


def _split(pieces: list[tuple[str, int]], number: int, escape: str) -> Instruction:
    line = "".join(piece for piece, _ in pieces)
    start = len(line) - len(line.lstrip(SPACE))
    end = max(start, len(line.rstrip(SPACE)))
    blanks = BLANKS.search(line, start, end)
    if blanks is None:
        return Instruction(line[start:end].lower(), (), "", number)
    flags, places, rest = _flags(line[blanks.end() : end], escape)
    args = rest.strip(SPACE)
    stop = end - (len(rest) - len(rest.rstrip(SPACE)))
    spans = _spans(pieces, stop - len(args), stop)
    behind = blanks.end()
    flag_spans = tuple(_spans(pieces, behind + first, behind + last) for first, last in places)
    return Instruction(line[start : blanks.start()].lower(), flags, args, number, spans, flag_spans)


def _flags(text: str, escape: str) -> tuple[tuple[str, ...], list[tuple[int, int]], str]:
    """The words with ``--`` at the start of ``text``, unquoted, where they stand, and what comes behind.

    BuildKit reads flags byte by byte, each as one character of Latin-1, two of which are blanks. Source:
    ``extractBuilderFlags`` of its parser package.
    """
    data = text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("latin-1")
    flags: list[str] = []
    places: list[tuple[int, int]] = []
    position = 0
    while True:
        while position < len(data) and data[position] in _LATIN_SPACE:
            position += 1
        if not data.startswith("--", position):
            break
        begun = position
        word, position = _flag(data, position, escape)
        if word == "--":
            break
        flags.append(word)
        places.append((len(_as_text(data[:begun])), len(_as_text(data[:position]))))
    return tuple(flags), places, _as_text(data[position:])


def _as_text(data: str) -> str:
    """What ``_flags`` reads as Latin-1 as the text that it is."""
    return data if data.isascii() else data.encode("latin-1").decode("utf-8", "surrogateescape")


def quoted_flag(name: str, value: str, escape: str) -> str:
    """``--name=value`` as an instruction takes it; the value as ``_flags`` reads one."""
    if value.isascii() and not re.search(r"[\s'\"]", value) and escape not in value:
        return f"--{name}={value}"
    escaped = re.sub(f'(["{re.escape(escape)}])', lambda found: escape + found[1], value)
    return _as_text(f'--{name}="{escaped}"')


def _flag(data: str, position: int, escape: str) -> tuple[str, int]:
    """The word at ``position`` without quotes and escapes, and the position behind it."""
    word: list[str] = []
    quote = ""
    while position < len(data) and (quote or data[position] not in _LATIN_SPACE):
        char = data[position]
        position += 1
        if quote and char == quote:
            quote = ""
        elif not quote and char in "'\"":
            quote = char
        elif char == escape:
            word.append(data[position : position + 1])
            position += 1
        else:
            word.append(char)
    return "".join(word), min(position, len(data))


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
    word: list[str] = []
    quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if not quote and char in SPACE:
            if word:
                words.append("".join(word))
            word = []
            continue
        if char == escape and quote != "'":
            if position == len(text):
                break
            word.append(char)
            char = text[position]
            position += 1
        elif quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        word.append(char)
    if word:
        words.append("".join(word))
    return words


def is_heredoc(word: str) -> bool:
    """Whether BuildKit takes ``word`` for a heredoc."""
    match = _HEREDOC.match(word)
    try:
        return match is not None and len(unquoted_words(match.group("word"))) == 1
    except ExpansionError:
        return False


def json_array(args: str) -> Optional[list[object]]:
    """``args`` read as a JSON array, as Go's ``encoding/json`` reads one; ``None`` where it is none."""
    if not args.startswith("["):
        return None
    try:
        value = json.loads(args, parse_constant=_refuse, parse_float=_number, parse_int=_number)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _is_json_array(args: str) -> bool:
    return json_array(args) is not None


def _number(text: str) -> float:
    """A number that is no infinity, which Go refuses."""
    number = float(text)
    if math.isinf(number):
        raise ValueError(text)
    return number


def _refuse(constant: str) -> None:
    raise ValueError(constant)
