# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Other people's text, made fit to be read: on a terminal, in a log, in a result."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

# Source: ECMA-48, "control sequence": colours, and moves of the cursor.
_CONTROL_SEQUENCE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]")

# Lines of an excerpt before and after the one that it is about, and characters of each that are shown.
_AROUND = 2
_LONGEST_SHOWN = 160


def printable(text: str, *, keep: str = "") -> str:
    r"""``text`` with visible escapes such as ``\x1b`` for what is not seen as it is.

    That is what steers a terminal (C0, DEL, C1), turns the order of what is read (direction marks, overrides,
    isolates), separates lines, takes no place or is a space of another kind, and halves of UTF-16 pairs. The
    characters of ``keep`` stay. Escapes are printable themselves: to do it twice changes nothing.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or sign in keep else ascii(sign)[1:-1] for sign in text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines, which stay lines."""
    return printable(text.replace("\r\n", "\n"), keep="\n\t")


def printable_data(content: Any) -> Any:
    """``content`` of mappings, lists and values, all its texts made ``printable_lines``."""
    if isinstance(content, str):
        return printable_lines(content)
    if isinstance(content, Mapping):
        return {printable_data(key): printable_data(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [printable_data(entry) for entry in content]
    return content


def excerpt(text: str, line: int) -> tuple[int, tuple[str, ...]]:
    """The number of the first and the lines themselves around ``line`` of ``text``, as they stand there."""
    lines = text.removesuffix("\n").split("\n")
    first = max(line - _AROUND, 1)
    return first, tuple(lines[first - 1 : line + _AROUND])


def numbered(lines: Sequence[str], first: int, marked: int) -> list[str]:
    """``lines`` fit to be read, with numbers from ``first`` on, and a mark at the number ``marked``.

    What is too long to be looked at is cut off.
    """
    width = len(str(first + len(lines) - 1))
    shown = []
    for number, line in enumerate(lines, first):
        line = printable(line.rstrip().expandtabs(4))
        line = line if len(line) <= _LONGEST_SHOWN else line[: _LONGEST_SHOWN - 1] + "…"
        shown.append(f"{'>' if number == marked else ' '} {number:{width}} | {line}".rstrip())
    return shown


def without_colours(text: str) -> str:
    """The output of a program without its colours; of a line that it drew again, what it drew last."""
    lines = _CONTROL_SEQUENCE.sub("", text).replace("\r\n", "\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
