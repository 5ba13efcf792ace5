# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Hostile text in every place of a document is refused by the place's name, or known to pass on as data."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document import (
    check as parameters,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.faults import Faults
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import (
    Archive,
    GitRepo,
    Source,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.target import Target
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.git_url import TRANSPORTS
from hypothesis import given
from hypothesis import strategies as st

from tests.support import fuzz
from tests.support.hostile import (
    ACCEPTED,
    DOCUMENTS,
    EMPTY_LEAVES_OUT,
    TEXTS,
    UNUSABLE,
    Place,
    dotted,
    places,
    replaced,
)


def checked(document: Any) -> Any:
    return parameters.check(document)


def faults(document: Any) -> list[str]:
    """Every fault of a document; none when it is accepted."""
    try:
        checked(document)
    except ParameterError as error:
        return error.faults
    return []


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_the_documents_to_put_hostile_text_into_are_correct(document: dict[str, Any]) -> None:
    assert faults(document) == []


def test_every_key_that_a_document_can_have_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    known: set[str] = set()

    class Recording(Faults):
        def mapping(
            self, path: str, value: Any, keys: Optional[Mapping[str, Any]] = None
        ) -> Mapping[str, Any]:
            known.update(f"{path}.{name}".lstrip(".") for name in keys or ())
            return super().mapping(path, value, keys)

    monkeypatch.setattr(parameters, "Faults", Recording)
    tried = set()
    for document in DOCUMENTS.values():
        checked(document)
        for place in places(document):
            tried.update(dotted(place[: length + 1]) for length in range(len(place)))
    assert known <= tried


PLACES = [(dotted(place), name, place) for name, document in DOCUMENTS.items() for place in places(document)]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        pytest.param(name, place, id=f"{name}-{where}")
        for where, name, place in PLACES
        if place[0] == "source" or name == "git"
    ],
)
def test_hostile_text_is_refused_by_its_place_or_known_to_pass(name: str, place: Place) -> None:
    passed = set()
    for what, text in TEXTS.items():
        if what == "empty" and dotted(place) in EMPTY_LEAVES_OUT:
            continue
        found = faults(replaced(DOCUMENTS[name], place, text))
        if not found:
            passed.add(what)
        for fault in found:
            assert fault.startswith(f"{dotted(place)}: "), (what, fault)
            assert fault.isprintable()
            assert len(fault) < 1100, (what, len(fault))
    assert passed == ACCEPTED.get(dotted(place), set())


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_hostile_key_is_refused_or_names_a_free_text(name: str) -> None:
    document = DOCUMENTS[name]
    for place in {full[:length] for full in places(document) for length in range(1, len(full))}:
        for what, text in TEXTS.items():
            made = copy.deepcopy(document)
            mapping: Any = made
            for part in place:
                mapping = mapping[part]
            if not isinstance(mapping, dict):
                continue
            mapping[text] = "x"
            found = faults(made)
            long_is_harmless = what == "long name" and place[-1] in ("build_args", "secrets", "ssh")
            free = place[-1] in ("labels", "annotations", "base") or long_is_harmless
            if what in UNUSABLE or not free:
                assert found, (dotted(place), what)
            assert all(fault.isprintable() and len(fault) < 1100 for fault in found), (dotted(place), what)


ANY_TEXT = st.one_of(st.sampled_from(sorted(TEXTS.values())), st.text(max_size=20))
KEYS = sorted({part for _, _, place in PLACES for part in place if isinstance(part, str)} | {"env", "file"})
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), ANY_TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), ANY_TEXT, st.integers()), inner, max_size=4),
    ),
    max_leaves=12,
)


def assert_explained_or_harmless(document: Any) -> None:
    """It is refused in lines that a terminal shows as they are, or nothing in it can be taken for more."""
    try:
        accepted = checked(document)
    except ParameterError as error:
        for fault in error.faults:
            assert fault.isprintable(), fault
            fault.encode()
        return
    assert_harmless(accepted.source, accepted.target)


def assert_harmless(source: Source, target: Target) -> None:
    """What later parts of the engine room rely on."""
    repository = source if isinstance(source, GitRepo) else getattr(source, "context", None)
    if isinstance(repository, GitRepo):
        assert not repository.url.startswith("-")
        assert "::" not in repository.url.partition("/")[0]
        scheme, separator, _ = repository.url.partition("://")
        assert not separator or scheme in TRANSPORTS
        assert not repository.version.startswith("-")
    if isinstance(source, (GitRepo, Archive)):
        for path in (source.dockerfile, source.workdir):
            assert not path.startswith("/")
            assert ".." not in path.split("/")
            assert "\0" not in path
    for image in target.images:
        for reference in image.references:
            assert str(reference).isascii()
            assert not str(reference).startswith("-")
        for text in (*image.build_args.values(), *image.labels.values(), *image.annotations.values()):
            assert "\0" not in text
            text.encode()


@fuzz.examples(300)
@given(source=ANYTHING, target=ANYTHING, options=ANYTHING)
def test_any_data_is_accepted_or_explained(source: Any, target: Any, options: Any) -> None:
    assert_explained_or_harmless({"source": source, "target": target, "options": options})


@fuzz.examples(600)
@given(data=st.data())
def test_a_document_with_hostile_places_is_explained_or_harmless(data: st.DataObject) -> None:
    document = data.draw(st.sampled_from(sorted(DOCUMENTS)).map(DOCUMENTS.__getitem__))
    all_places = sorted(places(document), key=str)
    for place in data.draw(st.lists(st.sampled_from(all_places), min_size=1, max_size=3, unique=True)):
        document = replaced(document, place, data.draw(ANYTHING))
    assert_explained_or_harmless(document)
