# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A word of another tool, or one in the wrong place, points to the key that does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.argument_spec import KEYS
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.check import check
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.foreign_words import (
    TABLE,
    home_of,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError

from tests.support.hostile import DOCUMENTS, replaced


def mappings(spec: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The path of each mapping of a document, with its keys."""
    yield path, spec
    for name, entry in spec.items():
        if "options" in entry:
            at = f"{path}.{name}".lstrip(".")
            yield from mappings(entry["options"], f"{at}[]" if entry["type"] == "list" else at)


PLACES = dict(mappings(KEYS))
PATHS = {f"{place}.{name}".lstrip(".") for place, known in PLACES.items() for name in known}
WORDS = [word for words, _ in TABLE for word in words.split()]


def test_every_word_stands_once_and_leads_to_keys_that_there_are() -> None:
    assert len(set(WORDS)) == len(WORDS)
    homes = {home for _, homes in TABLE if not isinstance(homes, str) for home in homes}
    assert homes <= PATHS


@pytest.mark.parametrize("place", PLACES)
def test_wherever_a_word_stands_what_is_told_is_a_key_or_a_sentence(place: str) -> None:
    known = PLACES[place]
    sentences = {home for _, home in TABLE if isinstance(home, str)}
    words = {word.rpartition(".")[2] for word in WORDS} | {path.rpartition(".")[2] for path in PATHS}
    for word in words - set(known):
        told = home_of(place, word, known)
        if told is not None and told not in sentences:
            assert told.removeprefix("write ") in {*known, *PATHS}, (place, word)


@pytest.mark.parametrize(
    ("place", "word", "told"),
    [
        # Compose and bake files
        ("target.images[0]", "args", "write build_args"),
        ("target.images[0]", "name", "write image"),
        ("target.images[0]", "context", "write source.build_context"),
        ("target.images[0]", "dockerfile", "write source.git_repo.dockerfile"),
        ("target.images[0]", "no-cache", "write no_cache"),
        ("target.images[0]", "output", "write target"),
        ("target.images[0]", "attest", "write options.provenance"),
        ("", "services", "what is built is source, and how, for each image, stands in target.images"),
        # Flags
        ("target.images[0]", "push", "every image is pushed, to target.registry; leave it out"),
        ("target.images[0]", "build-arg", "write build_args"),
        ("target.images[0]", "platform", "write platforms"),
        # Git, by everyone's words
        *(("source.git_repo", word, "write version") for word in ("branch", "ref", "commit", "tag")),
        *(("source.build_context", word, "write version") for word in ("branch", "ref", "commit", "tag")),
        ("source.git_repo", "context", "write workdir"),
        ("source.git_repo", "path", "write workdir"),
        ("source.build_context", "workdir", "write subdir"),
        ("source.build_context", "dockerfile", "write source.dockerfile"),
        ("source.dockerfile", "path", "write url"),
        # Shipwright, OpenShift, kpack
        ("source", "git", "write git_repo"),
        ("source", "contextDir", "write source.git_repo.workdir"),
        ("source", "subPath", "write source.git_repo.workdir"),
        ("source", "cloneSecret", "write source.git_repo.password"),
        ("source", "type", "the kind of a source is its key: git_repo, dockerfile, or tar"),
        ("source.git_repo", "uri", "write url"),
        ("target", "pushSecret", "write target.registry.password"),
        ("", "apiVersion", "a document has source, target and options at its top"),
        # Earlier image builders
        ("source", "repo", "write git_repo"),
        ("target", "registry_ip", "write target.registry.url"),
        ("target", "image_name", "write target.images[].image"),
        ("target", "image_tag", "write target.images[].tag"),
        # Keys of the document in the wrong place
        ("", "platforms", "write target.images[].platforms"),
        ("", "registry", "write target.registry"),
        ("source", "url", "write source.git_repo.url"),
        ("target", "username", "write target.registry.username"),
        ("target.images[0]", "rebuild", "write options.rebuild"),
        ("options", "custom_workdir", "write custom_workdir"),
        # Nobody's words, and places that are not the document's own
        ("target.images[0]", "qq", None),
        ("target.images[0].cache_to[0]", "name", None),
    ],
)
def test_a_foreign_word_points_home(place: str, word: str, told: str) -> None:
    assert home_of(place, word, PLACES.get(place.replace("[0]", "[]"), {})) == told


def test_the_fault_of_an_unknown_key_points_home() -> None:
    document = replaced(DOCUMENTS["git"], ("target", "images", 0, "args"), {"A": "x"})
    document["source"]["git_repo"]["branch"] = "main"
    with pytest.raises(ParameterError) as told:
        check(document)
    assert told.value.faults == [
        "source.git_repo.branch: unknown key; write version",
        "target.images[0].args: unknown key; write build_args",
    ]
