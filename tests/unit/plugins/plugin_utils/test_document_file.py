# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Files of documents: nothing in them is dropped or changed, and none is too much to read."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError
from ansible_collections.sodalite.image_builder.plugins.plugin_utils import document_tree
from ansible_collections.sodalite.image_builder.plugins.plugin_utils.document_file import (
    MOST_BYTES,
    Content,
    read_document,
)

Read = Callable[..., Content]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads a file with a text."""

    def made(text: str | bytes, suffix: str = "yaml") -> Content:
        path = tmp_path / f"a.{suffix}"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_document(str(path))

    return made


def fault(read: Read, text: str | bytes, suffix: str = "yaml") -> str:
    """The one fault of a text, without the name of its file."""
    with pytest.raises(ParameterError) as caught:
        read(text, suffix)
    (found,) = caught.value.faults
    return found.partition(f"a.{suffix}: ")[2]


@pytest.mark.parametrize(
    ("text", "suffix", "says"),
    [
        ("a: 1\nb:\n  c: 2\n  c: 3\n", "yaml", ["b.c: is given twice, in line 3 column 3 and in line 4"]),
        ("a: 1\n'a': 2", "yaml", ["a: is given twice, in line 1 column 1 and in line 2 column 1"]),
        ("{a: 1, b: {a: 2},\n a: 3}", "yaml", ["a: is given twice, in line 1 column 2 and in line 2"]),
        ("- {a: 1, a: 1}", "yaml", ["[0].a: is given twice, in line 1 column 4 and in line 1 column 10"]),
        ("1: a\n'1': b", "yaml", ["1: is given twice, in line 1 column 1 and in line 2 column 1"]),
        ("a: &x {b: 1}\nc: {<<: *x, d: 1, d: 2}", "yaml", ["c.d: is given twice, in line 2 column 13 and "]),
        ('{"a": [1, {"b": 1,\n "\\u0062": 2}]}', "json", ["a[1].b: is given twice, in line 1 column 12 and"]),
        ('{"a": 1, "a": 2, "b": "{\\"a\\": 3}",\n"b": 4}', "json", ["a: is given twice", "b: is given"]),
    ],
)  # fmt: skip
def test_a_key_that_stands_twice_is_a_fault_with_both_places(
    text: str, suffix: str, says: list[str], read: Read
) -> None:
    with pytest.raises(ParameterError) as caught:
        read(text, suffix)
    for found, wanted in zip(caught.value.faults, says, strict=True):
        assert wanted in found


def test_what_yaml_makes_of_plain_words_is_told_with_what_was_written(read: Read) -> None:
    text = "[017, 12:30:45, 0x1F, 1_000, 3.10, .5, yes, Off, +3, -0, .inf, 0b11]"
    content = read(text)
    assert list(content.written.values()) == text[1:-1].split(", ")
    assert content.data == yaml.safe_load(text)


def test_what_prints_as_it_was_written_is_only_data(read: Read) -> None:
    data = [0, -3, 42, 3.5, True, False, None, "0o17", "1e3", "08", "3.10", "yes"]
    for suffix, text in (("json", json.dumps(data)), ("yaml", yaml.safe_dump(data))):
        assert read(text, suffix) == Content(data)
    assert read("[0o17, 1e3, 08, y, 1.2.3, 10:80]").written == {}


@pytest.mark.parametrize("text", ["3.10", "1E3", "-0", "1e999"])
def test_numbers_of_json_are_told_as_they_were_written_too(text: str, read: Read) -> None:
    assert read(f'{{"a": [{text}]}}', "json").written == {"a[0]": text}


def test_what_anchors_and_merges_say_counts_where_it_is_repeated(read: Read) -> None:
    content = read("a: &a {x: 017, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {z: 5, x: 9}]}\nd: [*a]")
    assert content.data == {
        "a": {"x": 15, "y": 2},
        "b": {"x": 15, "y": 3},
        "c": {"x": 15, "y": 2, "z": 5},
        "d": [{"x": 15, "y": 2}],
    }
    assert set(content.written) == {"a.x", "b.x", "c.x", "d[0].x"}


def test_a_date_is_a_date(read: Read) -> None:
    assert read("2024-01-31").data == datetime.date(2024, 1, 31)


def test_characters_beyond_the_first_plane_are_the_same_in_json_and_yaml(read: Read) -> None:
    assert read('["\\ud83d\\ude00"]', "json") == read('["\\U0001F600"]') == read("[\U0001f600]")


@pytest.mark.parametrize(
    "text", [b"\xef\xbb\xbfa: 1", "a: 1".encode("utf-16"), b"%YAML 1.1\n---\na: 1\n...\n"]
)
def test_a_mark_of_the_encoding_is_no_part_of_the_text(text: bytes, read: Read) -> None:
    assert read(text).data == {"a": 1}


@pytest.mark.parametrize(
    ("text", "suffix", "says"),
    [
        (b"a: b\nc: d\xff", "yaml", "is not YAML: a byte that is not UTF-8 text: line 2 column 5"),
        (b'{"a":\n "\xe4"}', "json", "is not JSON: a byte that is not UTF-8 text: line 2 column 3"),
        ("a: \x07", "yaml", "is not YAML: a control character: line 1 column 4"),
        ("a: b\n---\nc: d", "yaml", "is not YAML: a second document begins: line 2 column 1"),
        ("a: !unsafe secret", "yaml", "what begins with ! is a type"),
        ("a: *secret", "yaml", "put it in quotes: line 1 column 4"),
        ("a: &secret [*secret]", "yaml", "line 1 column 13: repeats itself without end"),
        ("a: =", "yaml", "put it in quotes: line 1 column 4"),
        ("a: <<", "yaml", "put it in quotes"),
        ("<<: secret", "yaml", "<< takes a mapping"),
        ("? [secret]\n: b", "yaml", "line 1 column 3: the key is a list or a mapping"),
        ("yes: b", "yaml", "line 1 column 1: the key is yes, which is no text; put it in quotes"),
        ("0x1: b", "yaml", "the key is 0x1"),
        ("{~: b}", "yaml", "the key is ~"),
        ('{"a": NaN}', "json", "is not JSON: NaN is no number of JSON"),
        ('{"a": "secret" 1}', "json", "is not JSON: Expecting ',' delimiter: line 1 column 16"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_document_is_told_by_its_place_alone(
    text: str | bytes, suffix: str, says: str, read: Read
) -> None:
    found = fault(read, text, suffix)
    assert says in found
    assert "secret" not in found


def laughing(levels: int) -> str:
    """YAML whose last mapping takes over nine to the power of ``levels`` keys."""
    lines = ["a0: &a0 {x: 1}"]
    for n in range(1, levels):
        lines.append(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "suffix", "says"),
    [
        (laughing(12), "yaml", "says more than 100000 values"),
        (laughing(12).replace("{<<: ", "[").replace("]}", "]]"), "yaml", "says more than 100000 values"),
        ("[" + "1," * 100_000 + "1]", "yaml", "says more than 100000 values"),
        ("[" + "1," * 200_000 + "1]", "json", "says more than 100000 values"),
        ("[" * 100_000, "yaml", "more than 50 levels"),
        ("- " * 100_000, "yaml", "more than 50 levels"),
        ("[" * 1_000_000, "json", "more than 50 levels"),
        ("a: " + "1:" * 100_000 + "1", "yaml", "a number of more than 100 digits"),
        ("9" * 100_000, "yaml", "a number of more than 100 digits"),
        ("9" * 100_000, "json", "a number of more than 100 digits"),
    ],
    ids=range(10),
)
def test_what_would_grow_beyond_measure_is_refused_while_it_grows(
    text: str, suffix: str, says: str, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0
    node = document_tree.Node

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal steps
        steps += 1
        return node(*given, **named)

    for module in ("document_tree", "document_json", "document_yaml"):
        name = f"{document_tree.__package__}.{module}"
        monkeypatch.setattr(f"{name}.Node", counted)
    assert says in fault(read, text, suffix)
    assert steps <= document_tree.MOST_VALUES + 1


def test_of_a_file_no_more_is_read_than_a_document_may_have(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="is larger than 4 MiB"):
        read_document("/dev/zero")
    path = tmp_path / "a.json"
    path.write_text(json.dumps("x" * (MOST_BYTES - 2)))
    assert len(read_document(str(path)).data) == MOST_BYTES - 2


def test_levels_that_an_alias_repeats_are_counted_where_they_come(read: Read) -> None:
    text = "".join(f"- &a{n} [[[[[[*a{n - 1}]]]]]]\n" for n in range(1, 20)).replace("*a0", "x")
    assert "more than 50 levels" in fault(read, text)


def nested(value: Any, depth: int) -> Iterator[Any]:
    for _ in range(depth):
        value = [value]
        yield value


def test_what_a_document_needs_is_far_below_the_limits(read: Read) -> None:
    *_, deep = nested({"a": 1}, document_tree.DEEPEST - 1)
    many = list(range(document_tree.MOST_VALUES - 1))
    for data in (deep, many):
        assert read(json.dumps(data), "json").data == data
    assert read(json.dumps(deep)).data == deep
