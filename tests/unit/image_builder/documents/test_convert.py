# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from image_builder.documents import convert, read
from tests.unit.image_builder.conftest import Ended

Command = Callable[..., Ended]
INPUTS = Path(__file__).parents[4] / "inputs"
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def ordered(value: Any) -> str:
    return json.dumps(value, sort_keys=False)


@pytest.mark.parametrize("path", sorted(INPUTS.iterdir()), ids=lambda path: path.name)
def test_every_example_comes_back_from_the_other_format_in_its_order(
    path: Path, command: Command, tmp_path: Path
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    assert command("convert", path, "--output", there).status == 0
    (converted,) = there.iterdir()
    assert {path.suffix, converted.suffix} == {".json", ".yaml"}
    assert command("convert", converted, "--output", back).status == 0
    assert ordered(read.parse(back / path.name)) == ordered(read.parse(path))


@settings(deadline=None)
@given(document=st.dictionaries(st.text(), VALUES, max_size=4))
def test_no_value_changes_on_its_way_to_yaml_and_back(
    document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("values")
    original = folder / "a.json"
    original.write_text(json.dumps(document), encoding="utf-8")
    (done,) = convert.convert([original], None, None)
    assert ordered(read.parse(done.target)) == ordered(document)
    (back,) = convert.convert([done.target], None, folder / "back")
    assert ordered(read.parse(back.target)) == ordered(document)


def test_of_a_folder_the_files_of_the_other_format_are_converted_in_their_folders(
    command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "documents"
    (folder / "inner").mkdir(parents=True)
    for name in ("a.json", "inner/b.json", "c.yaml", "notes.txt"):
        (folder / name).write_text("{}")
    assert command("convert", folder, "--output", tmp_path / "yaml").status == 0
    assert command("convert", folder, "--to", "json", "--output", tmp_path / "json").status == 0
    made = {
        str(path.relative_to(tmp_path))
        for kind in ("yaml", "json")
        for path in (tmp_path / kind).rglob("*.*")
    }
    assert made == {"yaml/a.yaml", "yaml/inner/b.yaml", "json/c.json"}


def test_a_file_is_never_overwritten_unless_it_says_the_same_already(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    assert command("convert", tmp_path / "a.json").status == 0
    assert command("convert", tmp_path / "a.json").status == 0
    (tmp_path / "a.yaml").write_text("# mine\na: 1\n")
    ended = command("convert", tmp_path / "a.json")
    assert ended.status == 2
    assert "a.yaml: exists" in ended.stderr
    assert (tmp_path / "a.yaml").read_text() == "# mine\na: 1\n"


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("a.json", '{"password": "secret",', "is not JSON"),
        ("a.yaml", 'password: "secret\n', "is not YAML"),
        ("a.yaml", "a: 2024-01-01\n", "a: 2024-01-01 has no form in JSON"),
        ("a.yaml", "a: 2024-13-01\n", "is not YAML"),
        ("a.yaml", "a: [.nan, .inf]\n", "a[1]: inf has no form in JSON"),
        ("a.yaml", "a: {1: x}\n", "a: the key 1 is no text"),
        ("a.yaml", 'a: "\\uD800"\n', "a: has half of a character"),
        ("a.yaml", "&a [*a]\n", "repeats itself without end"),
        ("a.yaml", "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
        ), "says more than"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.txt", "{}", "the name ends in none of .json, .yaml, .yml"),
    ],
    ids=range(11),
)  # fmt: skip
def test_what_cannot_be_converted_is_a_fault_that_names_the_place(
    name: str, text: str, fault: str, command: Command, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "good.json").write_text("{}")
    ended = command("convert", tmp_path / "good.json", tmp_path / name)
    assert ended.status == 2
    assert fault in ended.stderr
    assert "secret" not in ended.stderr
    assert not (tmp_path / "good.yaml").exists(), "some of the files were converted"


def test_two_files_that_become_one_are_a_fault(command: Command, tmp_path: Path) -> None:
    for name in ("a.yaml", "a.yml"):
        (tmp_path / name).write_text("{}")
    ended = command("convert", tmp_path, "--to", "json")
    assert ended.status == 2
    assert "becomes" in ended.stderr
