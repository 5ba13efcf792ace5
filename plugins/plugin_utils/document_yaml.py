# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Documents in YAML, as Ansible and opera read it: words and numbers are those of YAML 1.1.

PyYAML finds the parts of the text; its own way from them to data follows aliases and merges without end,
drops keys that stand twice, and forgets how a number was written.
"""

from __future__ import annotations

import datetime
from typing import Any

import yaml

from .document_tree import LONGEST_NUMBER, MERGE, Node, Place, Tree, Unreadable

_TAG = "tag:yaml.org,2002:"
_TEXT = f"{_TAG}str"
_RESOLVER: Any = yaml.resolver.Resolver()
_CONSTRUCTOR: Any = yaml.constructor.SafeConstructor()
_NOT_PRINTABLE = yaml.reader.Reader.NON_PRINTABLE


def read_yaml(text: str) -> Tree:
    """What ``text`` says. Raises ``Unreadable``, with the place but without a word of the text."""
    _check_characters(text)
    reader = _Reader()
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        where = f": {_place(error.problem_mark)}" if error.problem_mark else ""
        raise Unreadable(f"is not YAML: {error.problem or error.context}{where}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"is not YAML: {' '.join(str(error).split())}") from None
    return reader.tree


def _check_characters(text: str) -> None:
    wrong = _NOT_PRINTABLE.search(text)
    if wrong:
        before = text[: wrong.start()]
        place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise Unreadable(f"is not YAML: a control character: {place}")


class _Reader:
    """Makes the tree of the parser's events."""

    def __init__(self) -> None:
        self.tree = Tree()
        self._anchored: dict[str, Node] = {}
        self._open: list[str] = []
        self._documents = 0

    def take(self, event: Any) -> None:
        """One event, in the order of the text."""
        place = _place(event.start_mark)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise Unreadable(f"is not YAML: a second document begins: {place}")
        elif isinstance(event, yaml.AliasEvent):
            self.tree.add(self._repeated(event.anchor, place))
        elif isinstance(event, yaml.ScalarEvent):
            node = _scalar(event, place)
            self.tree.add(node)
            self._keep(event.anchor, node)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            if event.tag not in (None, "!", f"{_TAG}map" if is_mapping else f"{_TAG}seq"):
                raise _tagged(place)
            self.tree.begin(place, is_mapping=is_mapping)
            self._open.append(event.anchor or "")
        elif isinstance(event, yaml.CollectionEndEvent):
            self._keep(self._open.pop(), self.tree.end())

    def _keep(self, anchor: str | None, node: Node) -> None:
        if anchor:
            self._anchored[anchor] = node

    def _repeated(self, anchor: str | None, place: Place) -> Node:
        if anchor in self._open:
            raise Unreadable(f"{place}: repeats itself without end")
        node = self._anchored.get(anchor or "")
        if node is None:
            raise Unreadable(
                f"is not YAML: text that begins with * stands for what & marked before, and nothing is; "
                f"put it in quotes: {place}"
            )
        return node


def _scalar(event: Any, place: Place) -> Node:
    text: str = event.value
    tag = event.tag
    if tag is None or tag == "!":
        tag = _RESOLVER.resolve(yaml.ScalarNode, text, event.implicit)
    elif tag != _TEXT:
        raise _tagged(place)
    if tag == _TEXT:
        return Node(place, text, text)
    kind = tag.removeprefix(_TAG)
    if kind in ("int", "float") and len(text) > LONGEST_NUMBER:
        raise Unreadable(f"{place}: a number of more than {LONGEST_NUMBER} digits; put it in quotes")
    return Node(place, _meaning(kind, text, place), text)


def _meaning(kind: str, text: str, place: Place) -> Any:
    """What plain ``text`` of this ``kind`` stands for."""
    node = yaml.ScalarNode(f"{_TAG}{kind}", text)
    if kind == "null":
        return None
    if kind == "merge":
        return MERGE
    if kind == "bool":
        return _CONSTRUCTOR.construct_yaml_bool(node)
    try:
        if kind == "int":
            return _CONSTRUCTOR.construct_yaml_int(node)
        if kind == "float":
            return _CONSTRUCTOR.construct_yaml_float(node)
        if kind == "timestamp":
            found = _CONSTRUCTOR.construct_yaml_timestamp(node)
            return found if isinstance(found, datetime.date) else text
    except (ValueError, OverflowError) as error:
        raise Unreadable(f"is not YAML: {error}; put text in quotes: {place}") from None
    raise Unreadable(f"is not YAML: this stands for more than text; put it in quotes: {place}")


def _tagged(place: Place) -> Unreadable:
    return Unreadable(
        f"is not YAML: what begins with ! is a type, and documents have none; put text in quotes: {place}"
    )


def _place(mark: Any) -> Place:
    return Place(mark.line + 1, mark.column + 1)
