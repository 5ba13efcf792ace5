# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Dockerfile words: how BuildKit expands variables in them and how it splits a line into them.

It stays ours because BuildKit's words are neither a shell's nor those of Python's ``shlex``.

Rules: BuildKit's ``frontend/dockerfile/shell`` package and the Dockerfile reference, "Environment
replacement". Where releases of BuildKit differ, the newest one is followed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Callable, Optional, Union

from ..text import printable

# What Go's unicode.IsSpace accepts; str.isspace() also takes the separators U+001C to U+001F.
SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_SPECIAL_PARAMETERS = "@*#?-$!"
_NO_VARIABLES: Mapping[str, str] = {}
_SURROGATES = re.compile("[\ud800-\udfff]")
# A hostile Dockerfile can double a variable on every line, or match long patterns against long values.
_LONGEST_RESULT = 1 << 16
_LONGEST_MATCHED = 1 << 10
_LONGEST_SHOWN = 200


class ExpansionError(ValueError):
    """A word that BuildKit refuses, with one sentence that says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(shown(reason))


def shown(text: str) -> str:
    """``text`` from a Dockerfile as an error may print it: short, and without control characters."""
    short = text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."
    return printable(short)


class Budget:
    """How much work is left for expanding the words of one Dockerfile: characters made, and compared."""

    def __init__(self, steps: int = 1 << 22) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take ``steps`` off. Raises ``ExpansionError`` where there are not so many."""
        self.left -= steps
        if self.left < 0:
            raise ExpansionError("the words up to here take too many steps to expand")


def expand(
    word: str, variables: Mapping[str, str], escape: str = "\\", budget: Optional[Budget] = None
) -> str:
    """``word`` without quotes and escapes, its variables replaced; an unset one counts as empty.

    ``escape`` is the Dockerfile's escape character; the work is taken off ``budget``. Raises
    ``ExpansionError``.
    """
    lexer = _Lexer(word, variables, escape)
    lexer.budget = budget or Budget()
    return _run(lexer)[0]


def heredoc_words(line: str) -> list[str]:
    """The words of ``line`` with quotes and escapes kept, as BuildKit looks for heredocs in them.

    A ``<<`` keeps the blanks behind it, so that ``<< EOF`` is one word. A line that does not
    lex, such as one with a single apostrophe, has no words.
    """
    lexer = _Lexer(line, _NO_VARIABLES, "\\", raw_quotes=True, keep_unset=True)
    lexer.raw_escapes = True
    try:
        return _run(lexer)[1]
    except ExpansionError:
        return []


def unquoted_words(text: str, *, raw_quotes: bool = False) -> list[str]:
    """The words of ``text`` without quotes, unless asked to keep them; variables stay as they are.

    Raises ``ExpansionError``.
    """
    return _run(_Lexer(text, _NO_VARIABLES, "\\", raw_quotes=raw_quotes, keep_unset=True))[1]


def empty_pattern(word: str, escape: str, *, quotes: bool = True) -> str:
    """The first expansion in ``word`` that cuts off what may be an empty pattern, or an empty text.

    Without ``quotes`` they are characters like others.
    """
    try:
        _run(_PatternFinder(word, escape, quotes))
    except ExpansionError:
        return ""
    except _EmptyPattern as found:
        return str(found)
    return ""


def _run(lexer: _Lexer) -> tuple[str, list[str]]:
    try:
        return lexer.read_until("", lexer.raw_escapes)
    except RecursionError:
        raise ExpansionError("it nests ${...} too deeply") from None


class _Words:
    """Collects the words of a line; blanks that were quoted or escaped do not separate.

    ``word`` holds the characters of the word that has begun. All nested calls share it, so that
    ``x${A:-b}`` loses its ``x``, as BuildKit has it.
    """

    def __init__(self, word: list[str]) -> None:
        self.done: list[str] = []
        self._word = word
        self._word.clear()
        self._inside = False

    def add(self, text: str) -> None:
        for char in text:
            if char not in SPACE:
                self.add_raw(char)
            elif self._inside and self._word:
                self._end_word()

    def add_raw(self, text: str) -> None:
        if text:
            self._word.append(text)
        self._inside = True

    def end(self) -> list[str]:
        if self._word:
            self._end_word()
        return self.done

    def _end_word(self) -> None:
        self.done.append("".join(self._word))
        self._word.clear()
        self._inside = False


class _Lexer:
    _operators_with_colon = "+-?"
    _longest = _LONGEST_RESULT

    def __init__(
        self,
        text: str,
        variables: Mapping[str, str],
        escape: str,
        *,
        raw_quotes: bool = False,
        keep_unset: bool = False,
    ) -> None:
        # Go's scanner passes over a byte order mark in front, and reads bytes that are no UTF-8 as U+FFFD.
        self._text = _SURROGATES.sub("\ufffd", text.removeprefix("\ufeff"))
        self._position = 0
        self._word: list[str] = []
        self.budget = Budget()
        self._variables = variables
        self._escape = escape
        self._raw_quotes = raw_quotes
        self.raw_escapes = False
        self._keep_unset = keep_unset
        self._readers: dict[str, Callable[[], str]] = {
            "$": self._dollar,
            "'": self._single_quoted,
            '"': self._double_quoted,
            "<": self._less_than,
        }

    def _peek(self) -> str:
        return self._text[self._position : self._position + 1]

    def _next(self) -> str:
        char = self._peek()
        self._position += len(char)
        return char

    def read_until(self, stop: str, raw_escapes: bool) -> tuple[str, list[str]]:
        """The text and its words up to ``stop``, which is consumed; "" stands for the end."""
        before, self.raw_escapes = self.raw_escapes, raw_escapes
        result: list[str] = []
        length = 0
        # Words are asked for where variables stay as they are, and there alone.
        words = _Words(self._word) if self._keep_unset else None
        while True:
            char = self._peek()
            if char == stop:
                self._next()
                self.raw_escapes = before
                return "".join(result), words.end() if words else []
            if not char:
                raise ExpansionError(f"the closing {stop} is missing")
            if char in self._readers:
                piece = self._readers[char]()
                length += len(piece)
                if words:
                    (words.add if char == "$" else words.add_raw)(piece)
                else:
                    self.budget.spend(len(piece))
                    if length > self._longest:
                        raise ExpansionError(f"its value is longer than {self._longest} characters")
                result.append(piece)
                continue
            self._next()
            if char == self._escape:
                if self.raw_escapes:
                    if words:
                        words.add_raw(char)
                    result.append(char)
                char = self._next()
                if words:
                    words.add_raw(char)
            elif words:
                words.add(char)
            result.append(char)

    def _less_than(self) -> str:
        self._next()
        if self._peek() != "<":
            return "<"
        start = self._position + 1
        self._position = start
        while self._peek() in (" ", "\t", "\r"):
            self._next()
        return "<<" + self._text[start : self._position]

    def _single_quoted(self) -> str:
        quote = self._next()
        end = self._text.find(quote, self._position)
        if end < 0:
            raise ExpansionError("the closing ' is missing")
        body = self._text[self._position : end]
        self._position = end + 1
        return f"'{body}'" if self._raw_quotes else body

    def _double_quoted(self) -> str:
        quote = self._next()
        result = [quote] if self._raw_quotes else []
        while True:
            char = self._peek()
            if not char:
                raise ExpansionError('the closing " is missing')
            if char == "$":
                result.append(self._dollar())
                continue
            self._next()
            if char == quote:
                return "".join(result) + (quote if self._raw_quotes else "")
            if char == self._escape:
                if self.raw_escapes:
                    result.append(char)
                following = self._peek()
                if not following:
                    continue
                if following in ('"', "$", self._escape):
                    char = self._next()
            result.append(char)

    def _dollar(self) -> str:
        self._next()
        if self._peek() != "{":
            name = self._name()
            if not name:
                return "$"
            value = self._variables.get(name)
            return self._kept("$" + name) if value is None else value
        self._next()
        if not self._peek():
            raise ExpansionError("the closing } is missing")
        if self._peek() in "{}:":
            raise ExpansionError("${ is not followed by a variable's name")
        name = self._name()
        value = self._variables.get(name)
        operator = self._next()
        if operator == "}":
            return self._kept("${" + name + "}") if value is None else value
        if operator == "/":
            return self._replace(name, value)
        colon = operator == ":"
        if colon:
            operator = self._next()
        if not operator or operator not in (self._operators_with_colon if colon else "+-?#%"):
            sign = (":" if colon else "") + operator
            raise ExpansionError(f"${{{name}{sign}...}} is not a form of substitution that BuildKit knows")
        word, _ = self.read_until("}", operator in "#%")
        if value is None and self._keep_unset:
            return "${" + name + (":" if colon else "") + operator + word + "}"
        return self._substitute(name, value, (":" if colon else "") + operator, word)

    def _substitute(self, name: str, value: Optional[str], operator: str, word: str) -> str:
        """What stands for ``${name<operator>word}``; ``operator`` has its colon in front."""
        if operator in "#%":
            return self._trim(value or "", word, operator)
        colon = operator.startswith(":")
        missing = value is None or (colon and not value)
        if operator.endswith("+"):
            return "" if missing else word
        if not missing:
            return value or ""
        if operator.endswith("?"):
            state = "empty" if colon else "unset"
            raise ExpansionError(f"{name}: {word or f'it is not allowed to be {state}'}")
        return word

    def _kept(self, text: str) -> str:
        return text if self._keep_unset else ""

    def _replace(self, name: str, value: Optional[str]) -> str:
        everywhere = self._peek() == "/"
        if everywhere:
            self._next()
        pattern, _ = self.read_until("/", True)
        replacement, _ = self.read_until("}", True)
        if value is None and self._keep_unset:
            return "${" + name + "/" + pattern + "/" + replacement + "}"
        return _replace(value or "", _Pattern(pattern, self.budget), replacement, everywhere)

    def _trim(self, value: str, word: str, operator: str) -> str:
        greedy = word.startswith(operator)
        pattern = _Pattern(word[1:] if greedy else word, self.budget)
        if operator == "%":
            pattern.tokens.reverse()
            value = value[::-1]
        ends = pattern.ends(value, 0)
        rest = value[ends[-1 if greedy else 0] :] if ends else value
        return rest[::-1] if operator == "%" else rest

    def _name(self) -> str:
        start = self._position
        first = self._peek()
        if first.isdecimal():
            while self._peek().isdecimal():
                self._next()
        elif first and first in _SPECIAL_PARAMETERS:
            self._next()
        else:
            while self._peek().isalpha() or self._peek().isdecimal() or self._peek() == "_":
                self._next()
        return self._text[start : self._position]


class _EmptyPattern(Exception):
    """An expansion whose pattern may be empty."""


class _PatternFinder(_Lexer):
    """Reads words whose variables are not known, as releases up to Docker Engine 26 do."""

    _operators_with_colon = "+-?#%"
    _longest = 1 << 62

    def __init__(self, text: str, escape: str, quotes: bool) -> None:
        super().__init__(text, _NO_VARIABLES, escape)
        self.budget = Budget(1 << 62)
        if not quotes:
            del self._readers["'"], self._readers['"']

    def _substitute(self, name: str, value: Optional[str], operator: str, word: str) -> str:
        """The least that can stand there: any variable may be empty."""
        if operator[-1] in "#%":
            if not word:
                raise _EmptyPattern(f"${{{name}{operator}}}")
            return ""
        if operator == ":?":
            return "x"
        return word if operator == ":-" else ""

    def _replace(self, name: str, value: Optional[str]) -> str:
        self.read_until("/", True)
        self.read_until("}", True)
        return ""


class _Any:
    """A ``?`` of a pattern: any one character but a line end."""


class _Star:
    """A ``*`` of a pattern: any characters but line ends."""


_Token = Union[str, _Any, _Star]


class _Pattern:
    """The tokens of a pattern, and what they match; the work is taken off the ``budget``."""

    def __init__(self, text: str, budget: Budget) -> None:
        self._budget = budget
        self.tokens: list[_Token] = []
        if len(text) > _LONGEST_MATCHED:
            raise ExpansionError(f"a pattern is longer than {_LONGEST_MATCHED} characters")
        chars = iter(range(len(text)))
        for index in chars:
            char = text[index]
            following = text[index + 1 : index + 2]
            if char == "\\" and following in ("}", "/"):
                continue
            if char == "\\":
                if not following or following not in "*?\\":
                    raise ExpansionError(f"the pattern {text!r} escapes what needs no escape")
                self.tokens.append(following)
                next(chars)
            else:
                self.tokens.append(_Star() if char == "*" else _Any() if char == "?" else char)

    def ends(self, value: str, start: int) -> list[int]:
        """Every end of a match at ``start``, ascending.

        Positions are tracked together, so a pattern of many stars costs no more than its
        length times the value's, unlike a backtracking regular expression.
        """
        if len(value) > _LONGEST_MATCHED:
            raise ExpansionError(f"a pattern is matched against more than {_LONGEST_MATCHED} characters")
        here = {start}
        for token in self.tokens:
            if isinstance(token, _Star):
                reached: set[int] = set()
                for position in sorted(here):
                    while position not in reached:
                        reached.add(position)
                        if position == len(value) or value[position] == "\n":
                            break
                        position += 1
                here = reached
            else:
                here = {
                    position + 1
                    for position in here
                    if position < len(value)
                    and (value[position] == token or (isinstance(token, _Any) and value[position] != "\n"))
                }
            if not here:
                break
            self._budget.spend(len(here))
        return sorted(here)


def _replace(value: str, pattern: _Pattern, replacement: str, everywhere: bool) -> str:
    if everywhere and "$" in replacement:
        # BuildKit hands the text to Go's regexp, where $ names a group.
        raise ExpansionError("the replacement in ${...//...} holds a $")
    result: list[str] = []
    position = 0
    last_end = -1
    while position <= len(value):
        ends = pattern.ends(value, position)
        if ends and not (ends[-1] == position == last_end):
            result.append(replacement)
            last_end = ends[-1]
            if not everywhere:
                return "".join(result) + value[last_end:]
            if last_end > position:
                position = last_end
                continue
        result.append(value[position : position + 1])
        position += 1
    return "".join(result)
