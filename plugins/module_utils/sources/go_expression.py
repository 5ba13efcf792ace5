# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The regular expressions of Go that Moby writes from patterns, matched in a time that grows with the text.

Python's ``re`` would take some of them otherwise, and tries again where Go does not: twenty ``*a`` of a
pattern keep it busy for years.

Source: ``regexp/syntax/parse.go`` of Go 1.22.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Callable, Optional

#: Whether a character belongs to a class.
Class = Callable[[str], bool]
#: States of a pattern's automaton that are kept; they are made anew after that.
_MOST_STATES = 10_000
#: Parts of one expression, for those that repeat with ``{n}``; Go has a limit of the kind.
_MOST_ITEMS = 50_000
_HIGHEST_REPEAT = 1000
_CONTROLS = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ASCII_WORD = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_PERL: dict[str, Class] = {
    "d": frozenset("0123456789").__contains__,
    "s": frozenset("\t\n\f\r ").__contains__,
    "w": _ASCII_WORD.__contains__,
}
_POSIX: dict[str, str] = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": "\x00-\x7f",
    "blank": "\t ",
    "cntrl": "\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\t-\r ",
    "upper": "A-Z",
    "word": "0-9A-Z_a-z",
    "xdigit": "0-9A-Fa-f",
}


class BadPattern(ValueError):
    """A pattern that Moby refuses."""


@dataclass(frozen=True)
class _Item:
    """A part of a regular expression: characters of a class, once or any number of times, or a place.

    ``place`` is ``^``, ``$``, ``b`` or ``B``, with the meaning of Go. An item without either is only the
    choice to leave out the next ``skip`` items, or the end of an alternative.
    """

    characters: Optional[Class] = None
    repeated: bool = False
    place: str = ""
    skip: int = 0


class GoExpression:
    """A regular expression of Go. Raises ``BadPattern`` for one that Go cannot read."""

    def __init__(self, text: str) -> None:
        self._automaton = _Automaton(_Parser(text).alternatives())

    def matches(self, text: str) -> bool:
        """Whether a part of ``text`` matches, as Go's ``MatchString`` tells."""
        return self._automaton.matches(text)


class _Parser:
    """Reads those regular expressions of Go that ``_translate`` can write. Raises ``BadPattern``."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def alternatives(self) -> list[list[_Item]]:
        """The items of each alternative, one after the other."""
        found: list[list[_Item]] = [[]]
        last, repeats = 0, False  # where the part begins that could be repeated, and whether it is
        while self._at < len(self._text):
            items, begun = found[-1], len(found[-1])
            char = self._next()
            repetition = (0, -1) if char == "*" else self._repetition() if char == "{" else None
            if repetition:
                if repeats or last == len(items):
                    raise BadPattern("a repetition in it repeats nothing, or a repetition")
                items[last:] = _repeated(items[last:], *repetition)
            elif char == "(":  # Moby writes one group only
                self._at += len(".*/)?")
                items += [_Item(skip=2), _Item(any_character, repeated=True), _Item(only("/"))]
            elif char == "|":
                found.append([])
                begun = 0
            elif char in "^$":
                items.append(_Item(place=char))
            elif char == "[":
                items.append(_Item(self._class()))
            elif char == "\\":
                items += self._escaped()
                # Of a literal the last character only is repeated.
                begun = max(begun, len(items) - 1) if len(items) > begun else last
            else:
                items.append(_Item(any_character if char == "." else only(char)))
            repeats = bool(repetition) or char == "("
            last = last if repetition else begun
            if len(items) > _MOST_ITEMS:
                raise BadPattern("it repeats too much")
        return found

    def _repetition(self) -> Optional[tuple[int, int]]:
        """The least and the most of ``{n}``, ``{n,}`` (-1) or ``{n,m}``, if that is what a ``{`` begins."""
        found = re.compile(r"(0|[1-9][0-9]*)(,(0|[1-9][0-9]*)?)?\}").match(self._text, self._at)
        if found is None:
            return None
        self._at = found.end()
        least = int(found[1])
        most = least if found[2] is None else int(found[3]) if found[3] else -1
        if max(least, most) > _HIGHEST_REPEAT or 0 <= most < least:
            raise BadPattern(f"{{{found[0]} in it is no number of times")
        return least, most

    def _next(self) -> str:
        if self._at == len(self._text):
            raise BadPattern("it breaks off")
        self._at += 1
        return self._text[self._at - 1]

    def _peek(self, length: int = 1) -> str:
        return self._text[self._at : self._at + length]

    def _escaped(self) -> list[_Item]:
        """What a backslash outside of a class begins."""
        char = self._peek()
        if char and char in "AzbB":
            self._at += 1
            return [_Item(place={"A": "^", "z": "$"}.get(char, char))]
        if char == "Q":
            literal, end, _ = self._text[self._at + 1 :].partition("\\E")
            self._at += 1 + len(literal) + len(end)
            return [_Item(only(character)) for character in literal]
        return [_Item(self._group() or only(self._character_escape()))]

    def _group(self) -> Optional[Class]:
        r"""The class that ``\d``, ``\pL`` and the like name, if one comes next."""
        char = self._peek()
        if char and char in "dswDSW":
            self._at += 1
            return complemented(_PERL[char.lower()], char.isupper())
        if char and char in "pP":
            self._at += 1
            category = self._next()
            if category == "{":
                category, end, _ = self._text[self._at :].partition("}")
                self._at += len(category) + len(end)
            negated = category.startswith("^")
            category = category.removeprefix("^")
            if not re.fullmatch("C[cfos]?|L[lmotu]?|M[cen]?|N[dlo]?|P[cdefios]?|S[ckmo]?|Z[lps]?", category):
                raise BadPattern(f"\\{char} in it names no general category of Unicode")
            return complemented(_unicode(category), (char == "P") != negated)
        return None

    def _character_escape(self) -> str:
        char = self._next()
        if char in "01234567" and (char == "0" or self._peek() in tuple("01234567")):
            digits = char
            while len(digits) < 3 and self._peek() in tuple("01234567"):
                digits += self._next()
            return chr(int(digits, 8))
        if char == "x" and self._peek() == "{":
            digits, end, _ = self._text[self._at + 1 :].partition("}")
            if not end or not re.fullmatch("[0-9A-Fa-f]+", digits) or int(digits, 16) > 0x10FFFF:
                raise BadPattern("\\x in it names no character")
            self._at += len(digits) + 2
            return chr(int(digits, 16))
        if char == "x":
            digits = self._next() + self._next()
            if not re.fullmatch("[0-9A-Fa-f]{2}", digits):
                raise BadPattern("\\x in it has no two digits")
            return chr(int(digits, 16))
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char.isascii() and not char.isalnum():
            return char
        raise BadPattern(f"\\{char} in it means nothing")

    def _class(self) -> Class:
        """A class whose ``[`` has been read."""
        negated = self._peek() == "^"
        self._at += negated
        parts: list[Class] = []
        while self._peek() != "]" or not parts:
            parts.append(self._named() or self._range())
        self._at += 1
        return complemented(lambda char: any(part(char) for part in parts), negated)

    def _named(self) -> Optional[Class]:
        r"""``[:alpha:]``, ``\d`` and the like inside of a class, if one comes next."""
        if self._peek(2) == "[:" and (end := self._text.find(":]", self._at + 2)) >= 0:
            name = self._text[self._at + 2 : end]
            negated = name.startswith("^")
            if name.removeprefix("^") not in _POSIX:
                raise BadPattern(f"[:{name}:] in it names no kind of characters")
            self._at = end + 2
            known = re.compile(f"[{_POSIX[name.removeprefix('^')]}]")
            return complemented(lambda char: known.match(char) is not None, negated)
        if self._peek() != "\\":
            return None
        self._at += 1
        group = self._group()
        self._at -= group is None
        return group

    def _range(self) -> Class:
        low = high = self._class_character()
        if self._peek() == "-" and self._peek(2)[1:] not in ("", "]"):
            self._at += 1
            high = self._class_character()
            if high < low:
                raise BadPattern(f"{low}-{high} in it runs backwards")
        return lambda char: low <= char <= high

    def _class_character(self) -> str:
        char = self._next()
        return self._character_escape() if char == "\\" else char


def _repeated(items: list[_Item], least: int, most: int) -> list[_Item]:
    if most < 0:
        # (x*)* is x*, and of a group or a place any number is none or one.
        once = len(items) == 1 and items[0].characters is not None
        again = [_Item(items[0].characters, repeated=True)] if once else [_Item(skip=len(items)), *items]
        return [*items * least, *again]
    return [*items * least, *[_Item(skip=len(items)), *items] * (most - least)]


def any_character(char: str) -> bool:
    """Whether ``.`` takes it."""
    return char != "\n"


def only(wanted: str) -> Class:
    """The class of one character."""
    return lambda char: char == wanted


def complemented(characters: Class, negated: bool) -> Class:
    """All other characters where ``negated``."""
    return (lambda char: not characters(char)) if negated else characters


def _unicode(category: str) -> Class:
    def belongs(char: str) -> bool:
        found = unicodedata.category(char)
        return found.startswith(category) and found != "Cn"

    return belongs


@dataclass(frozen=True)
class _State:
    """Where in the items a match may be, the character before, and what follows from the next one."""

    at: frozenset[int]
    word_before: bool
    start: bool
    next: dict[str, _State] = field(default_factory=dict, compare=False)


_END = _Item()
_MATCHED = _State(frozenset(), word_before=False, start=False)
_FAILED = _State(frozenset(), word_before=False, start=False)


class _Automaton:
    """Runs all ways through the items at once, and keeps what it has found out.

    Without a ``^`` an alternative begins anywhere, as with Go's ``MatchString``.
    """

    def __init__(self, alternatives: list[list[_Item]]) -> None:
        self._items: list[_Item] = []
        self._begins: list[int] = []
        for items in alternatives:
            self._begins.append(len(self._items))
            self._items += [*items, _END]
        self._anchored = all(items and items[0].place == "^" for items in alternatives)
        self._states: dict[_State, _State] = {}
        self._first = self._new_first()

    def _new_first(self) -> _State:
        return _State(frozenset(self._begins), word_before=False, start=True)

    def matches(self, text: str) -> bool:
        """Whether a part of ``text`` matches one of the alternatives."""
        state = self._first
        for char in (*text, ""):
            after = state.next.get(char)
            if after is None:
                after = state.next[char] = self._after(state, char)
            if after is _MATCHED or after is _FAILED:
                return after is _MATCHED
            state = after
        return False

    def _after(self, state: _State, char: str) -> _State:
        at: set[int] = set() if self._anchored else set(self._begins)
        for number in self._reached(state, char):
            item = self._items[number]
            if item is _END:
                return _MATCHED
            if char and item.characters and item.characters(char):
                at.add(number if item.repeated else number + 1)
        if not at:
            return _FAILED
        found = _State(frozenset(at), char in _ASCII_WORD, start=False)
        if len(self._states) >= _MOST_STATES:
            self._states.clear()
            self._first = self._new_first()
        return self._states.setdefault(found, found)

    def _reached(self, state: _State, char: str) -> set[int]:
        """The items that may take ``char`` next (empty: the end of the text)."""
        reached: set[int] = set()
        waiting = list(state.at)
        while waiting:
            number = waiting.pop()
            if number in reached:
                continue
            reached.add(number)
            item = self._items[number]
            if item.skip:
                waiting += (number + 1, number + 1 + item.skip)
            elif item.repeated or (item.place and self._holds(item.place, state, char)):
                waiting.append(number + 1)
        return reached

    @staticmethod
    def _holds(place: str, state: _State, char: str) -> bool:
        if place == "^":
            return state.start
        if place == "$":
            return not char
        at_edge = state.word_before != (char in _ASCII_WORD)
        return at_edge == (place == "b")
