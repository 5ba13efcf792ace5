# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What means that a key is left out, also where Ansible reads the arguments of a module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_document
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.argument_spec import PARTS
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.left_out import (
    without_left_out,
)

from tests.support.hostile import DOCUMENTS, EMPTY_LEAVES_OUT, dotted, replaced


def optional(value: Any, spec: Mapping[str, Any], path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of the optional keys of ``spec`` in ``value``."""
    if isinstance(value, list):
        yield from (place for n, item in enumerate(value) for place in optional(item, spec, (*path, n)))
    elif isinstance(value, dict) and "options" in spec:
        for name, entry in spec["options"].items():
            if name in value:
                if not entry.get("required"):
                    yield (*path, name)
                yield from optional(value[name], entry, (*path, name))


def places(document: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [place for name, spec in PARTS.items() for place in optional(document[name], spec, (name,))]


CASES = [(name, place) for name, document in DOCUMENTS.items() for place in places(document)]
CASES.append(("git", ("options",)))


def accepted(document: Mapping[str, Any]) -> Any:
    """The document, or its faults."""
    try:
        return accept_document(document)
    except Exception as error:
        return str(error)


def test_every_optional_key_is_tried() -> None:
    keys = {dotted(place) for _, place in CASES}
    assert len(keys) > 45
    assert {"source.git_repo.workdir", "target.images[0].pull", "options.sbom"} <= keys


NULLS = [(name, place, None) for name, place in CASES]
EMPTIES = [(name, place, "") for name, place in CASES if dotted(place) in EMPTY_LEAVES_OUT]


@pytest.mark.parametrize(
    ("name", "place", "value"),
    NULLS + EMPTIES,
    ids=[f"{name} {dotted(place)}={value!r}" for name, place, value in NULLS + EMPTIES],
)
def test_null_and_what_earlier_libraries_had_as_defaults_leave_a_key_out(
    name: str, place: tuple[Any, ...], value: Any
) -> None:
    given = replaced(DOCUMENTS[name], place, value)
    left_out = replaced(DOCUMENTS[name], place, None)
    inner = left_out
    for part in place[:-1]:
        inner = inner[part]
    del inner[place[-1]]
    assert accepted(given) == accepted(left_out)

    arguments = {part: without_left_out(given[part], spec) for part, spec in PARTS.items() if given[part]}
    read = ArgumentSpecValidator(PARTS).validate(arguments)
    assert read.error_messages == []
    assert accepted(read.validated_parameters) == accepted({**left_out, "custom_workdir": None})


def test_every_key_that_had_an_empty_default_is_tried() -> None:
    assert {dotted(place) for _, place, _ in EMPTIES} == EMPTY_LEAVES_OUT


@pytest.mark.parametrize(
    ("name", "place"),
    [case for case in CASES if dotted(case[1]) not in EMPTY_LEAVES_OUT],
    ids=[f"{name} {dotted(place)}" for name, place in CASES if dotted(place) not in EMPTY_LEAVES_OUT],
)
def test_the_empty_text_for_any_other_key_is_told(name: str, place: tuple[Any, ...]) -> None:
    told = accepted(replaced(DOCUMENTS[name], place, ""))
    assert f"{dotted(place)}: " in told


def test_a_mapping_without_a_key_that_it_needs_is_no_left_out_one() -> None:
    document = replaced(DOCUMENTS["git"], ("source", "git_repo", "url"), "")
    assert "source.git_repo.url: must not be empty" in accepted(document)
    for part in ("source", "target"):
        assert f"{part}: is missing" in accepted({**DOCUMENTS["git"], part: ""})
    assert "target.registry: expected a mapping, got text" in accepted(
        replaced(DOCUMENTS["git"], ("target", "registry"), "")
    )


def test_null_for_a_key_of_the_users_own_is_told() -> None:
    for key in ("build_args", "labels", "annotations", "secrets", "base"):
        nulled = replaced(DOCUMENTS["git"], ("target", "images", 0, key), {"A": None})
        handed_on = {part: without_left_out(nulled[part], spec) for part, spec in PARTS.items()}
        for document in (nulled, handed_on):
            assert f"target.images[0].{key}.A: has no value; give one" in accepted(document)
