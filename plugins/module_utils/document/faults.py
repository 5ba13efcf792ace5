# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Collecting every fault of a document, each with its path, instead of stopping at the first."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, TypeVar

from ..errors import ParameterError
from ..secret import SecretReference
from ..text import printable
from .foreign_words import home_of
from .left_out import left_out

_T = TypeVar("_T")
# Unicode's category Cc: some terminals obey those beyond ASCII, too.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# The longest path that Linux takes; no name is longer.
_LONGEST = 4096
_LONGEST_FAULT = 1000
# So many faults get a hint, which takes time to find.
_MOST_HINTS = 100
_ALL = "the document"
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class Faults(list[str]):
    """The faults found so far, and the checks that add to them.

    ``secrets`` and ``powers`` are what the checks came across: reading the ones and forbidding the others
    comes later. A power is a path in the document and the field of ``Policy`` that says whether what stands
    there may be asked for, such as ``local_paths`` for what names a file or folder of this machine.
    ``written`` is how values stand in the file, by their paths, where they do not print so (see the reader of
    files); doors that are given data do not know it.
    """

    def __init__(self, written: Optional[Mapping[str, str]] = None) -> None:
        super().__init__()
        self.written: Mapping[str, str] = written or {}
        self.secrets: list[SecretReference] = []
        self.powers: list[tuple[str, str]] = []

    def add(self, path: str, what: str) -> None:
        """Note that ``what`` is wrong at ``path``.

        What a terminal would not show as it is, is escaped; of a long line the middle is left out.
        """
        line = f"{path}: {what}"
        if len(line) > _LONGEST_FAULT:
            line = f"{line[: _LONGEST_FAULT // 2]} … {line[-_LONGEST_FAULT // 2 :]}"
        self.append(printable(line))

    def mapping(
        self, path: str, value: Any, known: Optional[Mapping[str, Mapping[str, Any]]] = None
    ) -> Mapping[str, Any]:
        """``value`` as a mapping without the keys that are left out; those that are not ``known`` are faults.

        ``known`` has their entries of an argument spec by name. An empty ``path`` means the document itself.
        Where none are ``known``, the keys are the user's own: one without a value is a fault.
        """
        if not isinstance(value, Mapping):
            self.add(path or _ALL, f"expected a mapping, got {kind_of(value)}")
            return {}
        if not known:
            return self._own_keys(path, value)
        names = list(known)
        for key in value:
            if not isinstance(key, str):
                self.add(path or _ALL, f"the key {key!r} is {kind_of(key)}; put it in quotes")
            elif key not in names:
                hint = home_of(path, key, known) or self._near(key, names)
                self.add(f"{path}.{key}" if path else key, f"unknown key; {hint}")
        return {
            key: item
            for key, item in value.items()
            if isinstance(key, str) and not left_out(key, item, known.get(key, {}))
        }

    def _near(self, key: str, names: Sequence[str]) -> str:
        near = difflib.get_close_matches(key, names, 1) if len(self) < _MOST_HINTS else ()
        return f"did you mean {near[0]!r}?" if near else "known are " + ", ".join(names)

    def _own_keys(self, path: str, value: Mapping[Any, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in value.items():
            if not isinstance(key, str):
                self.add(path, f"the key {key!r} is {kind_of(key)}; put it in quotes")
            elif item is None:
                self.add(f"{path}.{key}", "has no value; give one, or leave the key out")
            else:
                self.usable(f"{path}.{key}", key)
                found[key] = item
        return found

    def sequence(self, path: str, value: Any) -> Sequence[Any]:
        """``value`` as a list; nothing is an empty one."""
        if isinstance(value, (list, tuple)):
            return value
        if value is not None:
            self.add(path, f"expected a list, got {kind_of(value)}")
        return ()

    def text(self, path: str, value: Any, *, lines: bool = False, empty: bool = False) -> Optional[str]:
        """``value`` as text; numbers are faults because YAML changes them (3.10 is 3.1)."""
        if not isinstance(value, str):
            self.add(path, f"expected text, got {self._as_written(path, value)}")
            return None
        if not value and not empty:
            self.add(path, "must not be empty")
            return None
        return value if self.usable(path, value, lines=lines) else None

    def usable(self, path: str, text: str, *, lines: bool = False, longest: int = _LONGEST) -> bool:
        """Whether programs can be given ``text``; ``lines`` allows any length and all but NUL."""
        if "\0" in text or (not lines and _CONTROL.search(text)):
            what = "a NUL character" if lines else "line ends or other control characters"
            self.add(path, f"must not contain {what}")
            return False
        if not lines and len(text) > longest:
            self.add(path, f"must not be longer than {longest} characters")
            return False
        if _SURROGATE.search(text):
            self.add(path, "must not contain half of a surrogate pair, which is no character")
            return False
        return True

    def flag(self, path: str, value: Any) -> bool:
        """``value`` as a truth value; text such as ``yes`` is a fault."""
        if not isinstance(value, bool):
            self.add(path, f"expected true or false, got {kind_of(value)}")
            return False
        return value

    def attempt(self, path: str, make: Callable[[Any], _T], value: Any) -> Optional[_T]:
        """``make(value)``, with its ``ValueError`` as a fault."""
        try:
            return make(value)
        except ValueError as error:
            self.add(path, str(error))
            return None

    def texts(self, path: str, value: Any, *, key: re.Pattern[str], what: str) -> dict[str, str]:
        """A mapping from names to texts; whole numbers count as text if that is how they were written."""
        found = {}
        for name, item in self.mapping(path, value).items():
            where = f"{path}.{name}"
            if not key.match(name):
                self.add(path, f"{name!r} is not {what}")
            if isinstance(item, int) and not isinstance(item, bool) and where not in self.written:
                item = str(item)
            text = self.text(where, item, lines=True, empty=True)
            if text is not None:
                found[name] = text
        return found

    def _as_written(self, path: str, value: Any) -> str:
        """What ``value`` is, in words for a fault, and how to make text of it."""
        if not isinstance(value, (int, float, datetime.date)):
            return kind_of(value)
        written = self.written.get(path)
        meant = f"{written}, which is {kind_of(value)}" if written else kind_of(value)
        return f"{meant}; put it in quotes"

    def raise_if_any(self) -> None:
        """Raise ``ParameterError`` with all faults, if there are any."""
        if self:
            raise ParameterError(self)


def kind_of(value: Any) -> str:
    """What ``value`` is, in words for a fault."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return "text"
    if isinstance(value, datetime.date):
        return f"the date {value.isoformat()}"
    return "a list" if isinstance(value, (list, tuple)) else "a mapping"
