# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One pattern of a ``.dockerignore``, matched as Moby matches it.

Moby checks a pattern with Go's ``filepath.Match`` and then writes a regular expression of Go's syntax from
it, character by character. What a ``[`` or ``\\`` means there is therefore Go's matter: ``\\d`` is a digit,
``[[:alpha:]]`` a letter, ``^`` a start, ``[a*]`` no class with a star in it.

Sources: ``patternmatcher.go`` (``compile``, ``match``) of github.com/moby/patternmatcher 0.6, and
``path/filepath/match.go`` of Go 1.19.
"""

from __future__ import annotations

import re
from typing import Optional

from .go_expression import BadPattern, Class, GoExpression, any_character, complemented, only

# Moby means to escape { | } too, but its table of bits has no room for them: they keep what Go reads in them.
_ESCAPED_BY_MOBY = ".+()$"


class Pattern:
    """A cleaned pattern, without the ``!`` of an exception. Raises ``BadPattern``.

    ``kind`` is how it is matched: as an ``exact`` path, by ``prefix`` or ``suffix``, or as an ``expression``.
    """

    def __init__(self, text: str) -> None:
        _check_glob(text)
        self.text = text
        self.kind, self._written = _translate(text)
        self._expression: Optional[GoExpression] = None

    def matches(self, path: str) -> bool:
        """Whether ``path`` matches. Raises ``BadPattern`` where Go cannot read the expression."""
        if self.kind == "exact":
            return path == self.text
        if self.kind == "prefix":
            return path.startswith(self.text[:-2])
        if self.kind == "suffix":
            suffix = self.text[2:]
            return path.endswith(suffix) or (suffix.startswith("/") and path == suffix[1:])
        if self._expression is None:
            # Not before: what Go cannot read is no error for Moby unless it is held against a path.
            self._expression = GoExpression(self._written)
        return self._expression.matches(_as_go_reads(path))


def _as_go_reads(text: str) -> str:
    """Bytes that are no UTF-8 are U+FFFD for Go's regular expressions, each of them."""
    return re.sub("[\udc80-\udcff]", "\ufffd", text)


def _translate(pattern: str) -> tuple[str, str]:
    """What kind of pattern it is, and for an ``expression`` that of Go, by Moby's ``compile``."""
    text = _as_go_reads(pattern).removeprefix("\ufeff")
    out, kind, at, count = "^", "exact", 0, 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "*" and text[at : at + 1] == "*":
            at += 1 + (text[at + 1 : at + 2] == "/")
            if at < len(text):
                out, kind = out + "(.*/)?", "expression"
            elif kind == "exact":
                kind = "prefix"
            else:
                out, kind = out + ".*", "expression"
            if count == 0:
                kind = "suffix"
        elif char == "*":
            out, kind = out + "[^/]*", "expression"
        elif char == "?":
            out, kind = out + "[^/]", "expression"
        elif char in _ESCAPED_BY_MOBY:
            out += f"\\{char}"
        elif char == "\\" and at < len(text):
            out, kind = out + char + text[at], "expression"
            at += 1
        else:
            out += char
            if char in "[]":
                kind = "expression"
        count += 1
    return kind, f"{out}$"


def _check_glob(pattern: str) -> None:
    """Raise ``BadPattern`` where Go's ``filepath.Match`` calls the pattern malformed.

    Moby asks it whether ``.`` matches. Up to Go 1.19 at least it looks at no part behind one that does not.
    """
    name = "."
    while pattern:
        chunk = re.match(r"\**((?:\\.|\[(?:\\.|[^\]])*\]?|[^*])*)", pattern, re.DOTALL)
        assert chunk is not None
        pattern = pattern[chunk.end() :]
        takes = _glob_characters(chunk[1])
        if len(takes) > len(name) or not all(take(char) for take, char in zip(takes, name)):
            return
        name = name[len(takes) :]


def _glob_characters(chunk: str) -> list[Class]:
    """What each character must be that a part of a glob without a star matches."""
    found: list[Class] = []
    at = 0
    while at < len(chunk):
        if chunk[at] == "[":
            takes, at = _glob_class(chunk, at + 1)
        else:
            at += chunk[at] == "\\"
            if at == len(chunk):
                raise BadPattern("it ends with a backslash")
            takes = any_character if chunk[at] == "?" and chunk[at - 1 : at] != "\\" else only(chunk[at])
            at += 1
        found.append(takes)
    return found


def _glob_class(chunk: str, at: int) -> tuple[Class, int]:
    """The class of a glob whose ``[`` stands before ``at``, and the place behind it."""

    def character(at: int) -> tuple[str, int]:
        if chunk[at : at + 1] in ("", "-", "]"):
            raise BadPattern("a [ in it has no end, or nothing in it")
        at += chunk[at] == "\\"
        if at + 1 >= len(chunk) or "\udc80" <= chunk[at] <= "\udcff":
            raise BadPattern("a [ in it has no end")
        return chunk[at], at + 1

    negated = chunk[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    while chunk[at : at + 1] != "]" or not ranges:
        low, at = character(at)
        high = low
        if chunk[at] == "-":
            high, at = character(at + 1)
        ranges.append((low, high))
    return complemented(lambda char: any(low <= char <= high for low, high in ranges), negated), at + 1
