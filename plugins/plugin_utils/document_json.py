# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Documents in JSON."""

from __future__ import annotations

import bisect
import json
import re
from collections.abc import Iterator
from typing import Any

from .document_tree import DEEPEST, LONGEST_NUMBER, MOST_VALUES, Node, Place, Tree, Unreadable, lines_of

_TOKEN = re.compile(r'("[^"\\]*+(?:\\.[^"\\]*+)*+")|([\[\]{}])|([^\s\[\]{}:,"]++)', re.DOTALL)
_WORDS = {"true": True, "false": False, "null": None}


def read_json(text: str) -> Tree:
    """What ``text`` says. Raises ``Unreadable``, with the place but without a word of the text."""
    _check_size(text)
    try:
        # Where it is wrong the library says best; numbers are read later, when it is known to be right.
        json.loads(text, parse_int=len, parse_float=len, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"is not JSON: {error}") from None
    tree = Tree()
    begins = lines_of(text)
    for match in _TOKEN.finditer(text):
        line = bisect.bisect(begins, match.start())
        place = Place(line, match.start() - begins[line - 1] + 1)
        token = match.group()
        if token in "{[":
            tree.begin(place, is_mapping=token == "{")
        elif token in "}]":
            tree.end()
        else:
            tree.add(Node(place, _scalar(token, place), token))
    return tree


def _check_size(text: str) -> None:
    """Raise ``Unreadable`` for what is too large or too deep to be read, right or wrong."""
    depth = count = 0
    for token in _tokens(text):
        if token in "}]":
            depth -= 1
            continue
        count += 1
        depth += token in "{["
        if depth > DEEPEST:
            raise Unreadable(f"is not JSON: more than {DEEPEST} levels of lists and mappings")
        if count > 2 * MOST_VALUES:
            raise Unreadable(f"says more than {MOST_VALUES} values")


def _tokens(text: str) -> Iterator[str]:
    return (match.group() for match in _TOKEN.finditer(text))


def _scalar(token: str, place: Place) -> Any:
    if token.startswith('"'):
        return json.loads(token)
    if token in _WORDS:
        return _WORDS[token]
    if len(token) > LONGEST_NUMBER:
        raise Unreadable(f"{place}: a number of more than {LONGEST_NUMBER} digits; put it in quotes")
    return json.loads(token)


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")
