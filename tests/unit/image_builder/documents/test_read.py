# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.document import Document
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError
from hypothesis import given
from hypothesis import strategies as st

from image_builder.documents import read
from tests.support import fuzz
from tests.support.examples import EXAMPLES, variables
from tests.support.run import ROOT
from tests.unit.image_builder.conftest import Ended

Command = Callable[..., Ended]
PAYLOADS = ROOT / "tests" / "conformance" / "payloads"


def faults(path: Path) -> list[str]:
    with pytest.raises(ParameterError) as caught:
        read.load(path)
    return caught.value.faults


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_correct_document(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in variables(read.parse(path)):
        monkeypatch.setenv(name, "a secret")
    assert {"source", "target"} <= set(read.load(path).raw)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_says_the_same_in_json_and_in_yaml(path: Path) -> None:
    other = path.with_suffix(".yaml" if path.suffix == ".json" else ".json")
    assert read.parse(path) == read.parse(other)


@pytest.mark.parametrize("path", sorted((ROOT / "inputs").glob("*.yaml")), ids=lambda path: path.name)
def test_an_example_begins_with_a_comment_on_what_it_shows(path: Path) -> None:
    assert path.read_text(encoding="utf-8").splitlines()[1].startswith("# ")


@pytest.mark.parametrize("path", sorted(PAYLOADS.iterdir()), ids=lambda path: path.name)
def test_every_document_in_use_is_an_example(path: Path) -> None:
    assert read.parse(ROOT / "inputs" / path.name) == read.parse(path)


def test_an_unknown_input_is_a_fault_that_names_the_nearest_known_one(tmp_path: Path) -> None:
    path = tmp_path / "inputs.yaml"
    path.write_text((ROOT / "inputs" / "git.yaml").read_text() + "tarjet: {}\n")
    assert faults(path) == ["tarjet: unknown key; did you mean 'target'?"]


def test_faults_inside_and_outside_of_the_parts_are_reported_together(tmp_path: Path) -> None:
    path = tmp_path / "inputs.yaml"
    path.write_text("source: {git_repo: {}}\ntarget: {images: []}\nsauce: 1\n")
    found = faults(path)
    assert [fault.split(":")[0] for fault in found[:2]] == ["sauce", "source.git_repo.url"]
    assert any(fault.startswith("target.registry:") for fault in found)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("inputs.yaml", "source: [", "is not YAML: "),
        ("inputs.json", "{", "is not JSON: "),
        ("inputs.yaml", "- source", "expected a mapping with source and target"),
        ("inputs.yaml", "", "expected a mapping with source and target"),
        ("inputs.json", "\xff", "is not JSON: "),
    ],
)
def test_a_file_that_is_no_document_is_a_fault_that_names_the_file(
    name: str, text: str, says: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    (fault,) = faults(path)
    assert fault.startswith(f"{path}: {says}")
    assert "\n" not in fault


def test_yaml_cannot_construct_objects(tmp_path: Path) -> None:
    path = tmp_path / "inputs.yaml"
    path.write_text("!!python/object/apply:os.system ['touch made']\n")
    assert "is not YAML" in faults(path)[0]


#: Pieces of YAML and JSON that mean something, in any order.
FRAGMENTS = st.lists(
    st.sampled_from(
        [
            *(
                "source",
                "target",
                ": ",
                "{",
                "}",
                "[",
                "]",
                "- ",
                "\n",
                "\n  ",
                ", ",
                "&a ",
                "*a",
                "<<",
                "!!set ",
            ),
            *(
                "!!binary ",
                "!!python/name:os.system ",
                "? ",
                "| ",
                "> ",
                "'",
                '"',
                "\\ud800",
                "2026-01-01",
                "1e999",
            ),
            *(
                "NaN",
                "%YAML 1.2\n",
                "---\n",
                "...\n",
                "0x",
                "null",
                "\t",
                "#",
                "@",
                "`",
                "=",
                "git_repo",
                "images",
            ),
        ]
    ),
    max_size=25,
).map(lambda parts: "".join(parts).encode())


@fuzz.examples(300)
@given(
    content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode), FRAGMENTS),
    json=st.booleans(),
)
def test_whatever_a_file_holds_is_a_document_or_a_fault(content: bytes, json: bool, tmp_path: Path) -> None:
    path = tmp_path / ("inputs.json" if json else "inputs.yaml")
    path.write_bytes(content)
    with suppress(ParameterError):
        assert isinstance(read.load(path), Document)


@pytest.mark.parametrize("command_name", ["build", "plan", "convert"])
def test_a_name_that_is_no_utf_8_is_told_with_its_bytes_escaped(
    command_name: str, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / os.fsdecode(b"a\xff.yaml")
    path.write_text("a: 1\na: 2\n")
    ended = command(command_name, path)
    assert ended.status == 2
    assert ended.stderr.count("is given twice") == 1
    assert "a\\xff.yaml: a: is given twice" in ended.stderr.replace("\n", "")
