# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Secrets, read and not yet read, and how they stay out of everything people read."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from urllib.parse import quote, quote_plus

#: How a document gives a secret: as text, ``{env: NAME}`` or ``{file: PATH}``.
SecretForm = Literal["text", "env", "file"]
MASK = "********"
# A line of a longer secret that is shorter may be an ordinary word, and is masked only as all of a line.
_SHORTEST_LINE = 8
# Less than this leaves too few characters of Base64 to tell it from other text.
_SHORTEST_CODED = 5
_MOST_LINES = 5000
_PIECE = 8
# The lengths of the rows that programs break Base64 into (MIME, and OpenSSL's).
_ROWS = (76, 64)
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")
_LINE_ENDS = re.compile(r"\r\n|\r|\n")
_LINE = re.compile(r"[^\r\n]+")
# With more forms than a few, only those are looked for whose begin is in the text.
_BEGIN = 6
_FEW = 40


class Secret:
    """A text that prints as a mask; ``reveal()`` gives it to the one place that needs it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        # One that was not read is equal to none that was.
        return type(other) is Secret and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, repr=False)
class SecretReference(Secret):
    """A secret that a document gives or names, not read yet: ``reveal()`` fails.

    ``path`` is its place in the document, as faults name it. ``name`` is, by the ``form``, the text itself,
    the name of an environment variable, or the path of a file. ``lines`` allows it several lines.
    """

    path: str
    form: SecretForm
    name: str
    lines: bool = False

    def reveal(self) -> str:
        """Fails: what needs the text works on a document whose secrets were read (``resolve``)."""
        raise RuntimeError(f"{self.path} has not been read")

    def shown(self) -> Any:
        """What a document shows in its place: a mask for text, else where it comes from."""
        return MASK if self.form == "text" else {self.form: self.name}


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """``text`` with every secret replaced by a mask, also where it is quoted or encoded.

    Known are the secret as it is, URL-quoted, as JSON escapes it, and in Base64, alone or within a longer
    text such as ``user:password``, in rows too. Of a secret of several lines each line is one, unless it is
    so short that it may be an ordinary word: that is masked where it is all of a line.
    """
    return _masks(frozenset(secret.reveal() for secret in secrets)).redact(text)


class _Masks:
    """The forms that are masked.

    ``plain`` as they are, ``codes`` with the run of Base64 that they stand in, ``lines`` as all of a line.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        plain: set[str] = set()
        codes: set[str] = set()
        self.lines: set[str] = set()
        for secret in filter(None, secrets):
            bare = secret.strip("\r\n")
            lines = [line.strip() for line in _LINE_ENDS.split(bare)] if _LINE_ENDS.search(bare) else []
            for whole in {secret, bare, *(end.join(lines) for end in ("\n", "\r\n", "\r"))} - {""}:
                plain |= _quoted(whole) | _coded(whole)
            plain |= _coded(f"{bare}\n")
            if len(bare.encode(errors="surrogatepass")) >= _SHORTEST_CODED:
                codes |= _coded_within(bare)
            for line in filter(None, lines[:_MOST_LINES]):
                if len(line) < _SHORTEST_LINE:
                    self.lines.add(line)
                else:
                    plain |= _quoted(line) | _coded(line)
                    codes |= _coded_within(line)
        self.plain = sorted(plain, key=len, reverse=True)
        self.codes = sorted(codes)
        self._found = _Finder(self.plain)
        self._found_codes = _Finder(self.codes)

    def redact(self, text: str) -> str:
        """``text`` without the secrets."""
        for form in self._found.candidates(text):
            text = text.replace(form, MASK)
        for code in self._found_codes.candidates(text):
            text = _without_run(text, code)
        if self.lines:
            text = _LINE.sub(lambda line: MASK if line.group().strip() in self.lines else line.group(), text)
        return text


class _Finder:
    """Tells which of many ``forms`` a text may have, in their order. The cost does not grow with them."""

    def __init__(self, forms: Sequence[str]) -> None:
        self._forms = forms
        self._begins: dict[str, list[int]] = {}
        self._short = [number for number, form in enumerate(forms) if len(form) < _BEGIN]
        for number, form in enumerate(forms):
            if len(form) >= _BEGIN:
                self._begins.setdefault(form[:_BEGIN], []).append(number)

    def candidates(self, text: str) -> Iterable[str]:
        if len(self._forms) <= _FEW:
            return self._forms
        begins = self._begins
        found = {
            number
            for place in range(len(text) - _BEGIN + 1)
            for number in begins.get(text[place : place + _BEGIN], ())
        }
        return [self._forms[number] for number in sorted(found.union(self._short))]


@lru_cache(maxsize=64)
def _masks(secrets: frozenset[str]) -> _Masks:
    return _Masks(secrets)


def _quoted(text: str) -> set[str]:
    """``text`` as it is, in a URL, and as JSON escapes it."""
    escaped = {json.dumps(text, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    slashed = {form.replace("/", "\\/") for form in escaped}
    with suppress(UnicodeEncodeError):
        return {text, quote(text, safe=""), quote(text), quote_plus(text), *escaped, *slashed}
    return {text, *escaped, *slashed}


def _coded(text: str) -> set[str]:
    """The Base64 of ``text``: whole, in a URL, and in rows."""
    whole = base64.b64encode(text.encode(errors="surrogatepass")).decode()
    rows = (whole[place : place + width] for width in _ROWS for place in range(0, len(whole), width))
    return {whole, quote_plus(whole), *(row for row in rows if len(row) >= _BEGIN)}


def _coded_within(text: str) -> set[str]:
    """What the Base64 of every longer text has where ``text`` is in it, which may begin at three places."""
    found: set[str] = set()
    content = text.encode(errors="surrogatepass")
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + content).decode()
        core = coded[-(-8 * before // 6) : 8 * (before + len(content)) // 6]
        # However it is broken into rows, each has one of the pieces.
        for place in range(0, max(1, len(core) - _PIECE + 1), _PIECE // 2):
            piece = core[place : place + _PIECE]
            found.update((piece, piece.replace("+", "-").replace("/", "_")))
    return found


def _without_run(text: str, code: str) -> str:
    """``text`` with a mask for each run of characters of Base64 that ``code`` stands in."""
    parts, done = [], 0
    place = text.find(code)
    while place >= 0:
        begin, end = place, place + len(code)
        while begin > done and text[begin - 1] in _BASE64:
            begin -= 1
        while end < len(text) and text[end] in _BASE64:
            end += 1
        parts += [text[done:begin], MASK]
        done = end
        place = text.find(code, done)
    return "".join([*parts, text[done:]])
