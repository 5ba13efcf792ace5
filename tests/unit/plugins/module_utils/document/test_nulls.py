# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A key that is null is one that was left out, also where Ansible reads the arguments of a module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_document
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.argument_spec import (
    PARTS,
    without_nulls,
)

from tests.support.hostile import DOCUMENTS, dotted, replaced


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


@pytest.mark.parametrize(("name", "place"), CASES, ids=[f"{name} {dotted(place)}" for name, place in CASES])
def test_null_means_the_same_as_leaving_a_key_out(name: str, place: tuple[Any, ...]) -> None:
    nulled = replaced(DOCUMENTS[name], place, None)
    left_out = replaced(DOCUMENTS[name], place, None)
    inner = left_out
    for part in place[:-1]:
        inner = inner[part]
    del inner[place[-1]]
    assert accepted(nulled) == accepted(left_out)

    given = {part: without_nulls(nulled[part], spec) for part, spec in PARTS.items()}
    read = ArgumentSpecValidator(PARTS).validate(given)
    assert read.error_messages == []
    assert accepted(read.validated_parameters) == accepted({**left_out, "custom_workdir": None})


def test_null_for_a_key_of_the_users_own_is_told() -> None:
    for key in ("build_args", "labels", "annotations", "secrets", "base"):
        nulled = replaced(DOCUMENTS["git"], ("target", "images", 0, key), {"A": None})
        handed_on = {part: without_nulls(nulled[part], spec) for part, spec in PARTS.items()}
        for document in (nulled, handed_on):
            assert f"target.images[0].{key}.A: has no value; give one" in accepted(document)
