# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What the text of a document says: a tree that is limited while it grows, and the data that it becomes."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Union

#: How many values a document may have; what an alias repeats counts each time.
MOST_VALUES = 100_000
#: How deep lists and mappings may stand inside one another. A document needs eight.
DEEPEST = 50
#: How many characters a number may have. More take a time that grows with their square.
LONGEST_NUMBER = 100


class Place(NamedTuple):
    """Where something stands in a file; both count from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line} column {self.column}"


class Unreadable(ValueError):
    """The text is none that a document can have."""


@dataclass(frozen=True)
class Content:
    """The data of a file, and of what is not text there what was ``written``, by its path as faults name it.

    ``written`` has only what the data does not print as: ``3.10``, ``0123``, ``yes``, ``2024-01-31``.
    """

    data: Any
    written: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Node:
    """A value and where it stands.

    ``content`` is a list of nodes, a mapping from keys to nodes, or what a scalar means, whose text is
    ``written``. ``size`` is how many values there are, itself counted, and ``height`` how many levels.
    """

    place: Place
    content: Any
    written: str = ""
    size: int = 1
    height: int = 0


@dataclass
class _Open:
    """A list or mapping whose end has not come."""

    place: Place
    is_mapping: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, tuple[Node, Node]] = field(default_factory=dict)
    merged: list[Node] = field(default_factory=list)
    key: Union[Node, None] = None
    size: int = 1
    height: int = 0


#: The value of a key ``<<``, with which YAML takes another mapping's keys over.
MERGE = object()


class Tree:
    """Grows by what a reader finds, in its order. Raises ``Unreadable`` where it grows too large or too deep.

    ``twice`` has a fault for each key that a mapping has twice.
    """

    def __init__(self) -> None:
        self.twice: list[str] = []
        self._root: Union[Node, None] = None
        self._open: list[_Open] = []
        self._count = 0

    def begin(self, place: Place, *, is_mapping: bool) -> None:
        """A mapping, or else a list, begins."""
        self._open.append(_Open(place, is_mapping))
        if len(self._open) > DEEPEST:
            raise Unreadable(f"{place}: more than {DEEPEST} levels of lists and mappings")

    def end(self) -> Node:
        """The list or mapping that began last ends."""
        ended = self._open.pop()
        content: Any = ended.items
        if ended.is_mapping:
            content = {}
            # Its own keys prevail over those that it takes over, and of these the first.
            for merged in reversed(ended.merged):
                content.update(merged.content)
            content.update({key.content: item for key, item in ended.entries.values()})
        node = Node(ended.place, content, size=ended.size, height=ended.height + 1)
        self._put(node)
        return node

    def add(self, node: Node) -> None:
        """A value that is complete: a scalar, or what an alias repeats."""
        self._count += node.size
        if self._count > MOST_VALUES:
            raise Unreadable(f"says more than {MOST_VALUES} values")
        if len(self._open) + node.height > DEEPEST:
            raise Unreadable(f"{node.place}: more than {DEEPEST} levels of lists and mappings")
        self._put(node)

    def content(self) -> Content:
        """The data, when all has been read."""
        written: dict[str, str] = {}
        return Content(None if self._root is None else _data(self._root, "", written), written)

    def _put(self, node: Node) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        parent.size += node.size
        parent.height = max(parent.height, node.height)
        if not parent.is_mapping:
            parent.items.append(node)
        elif parent.key is None:
            _check_key(node)
            parent.key = node
        else:
            self._put_entry(parent, parent.key, node)
            parent.key = None

    def _put_entry(self, parent: _Open, key: Node, node: Node) -> None:
        if key.content is MERGE:
            parent.merged += _merged(node)
            return
        name = str(key.content)
        if name in parent.entries:
            first = parent.entries[name][0].place
            self.twice.append(
                f"{self._path()}: is given twice, in {first} and in {key.place}; leave one of them out"
            )
        else:
            parent.entries[name] = key, node

    def _path(self) -> str:
        """The path of the key that is being read."""
        parts = [
            f".{around.key.content}" if around.key else f"[{len(around.items)}]" for around in self._open
        ]
        return "".join(parts).lstrip(".")


def _check_key(node: Node) -> None:
    content = node.content
    if content is MERGE or isinstance(content, str):
        return
    if isinstance(content, int) and str(content) == node.written:
        return
    what = "a list or a mapping" if isinstance(content, (list, dict)) else node.written or "nothing"
    raise Unreadable(f"{node.place}: the key is {what}, which is no text; put it in quotes")


def _merged(node: Node) -> list[Node]:
    found = node.content if isinstance(node.content, list) else [node]
    for item in found:
        if not isinstance(item.content, dict):
            raise Unreadable(f"{node.place}: << takes a mapping, or a list of mappings")
    return list(found)


def _data(node: Node, path: str, written: dict[str, str]) -> Any:
    content = node.content
    if isinstance(content, dict):
        return {key: _data(item, f"{path}.{key}".lstrip("."), written) for key, item in content.items()}
    if isinstance(content, list):
        return [_data(item, f"{path}[{number}]", written) for number, item in enumerate(content)]
    if content is MERGE:
        raise Unreadable(f"{node.place}: << stands where a value belongs; put it in quotes")
    if not isinstance(content, str) and content is not None and node.written != shown(content):
        written[path] = node.written
    return content


def shown(value: Any) -> str:
    """A scalar as it is written most plainly."""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def lines_of(text: str) -> Sequence[int]:
    """Where each line of ``text`` begins."""

    def begins() -> Iterator[int]:
        place = 0
        while place >= 0:
            yield place
            place = text.find("\n", place) + 1 or -1

    return list(begins())
