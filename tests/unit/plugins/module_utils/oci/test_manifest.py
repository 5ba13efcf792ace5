# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Reading manifests and indexes that anybody may have written."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.digest import matches
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.manifest import parse, platform_of
from hypothesis import given
from hypothesis import strategies as st

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DIGEST = f"sha256:{'a' * 64}"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["manifests", "config", "platform", "digest", "os", "annotations", "mediaType"]),
            inner,
        )
    ),
)


def index(*entries: Any, **more: Any) -> bytes:
    return json.dumps({"mediaType": INDEX, "manifests": entries, **more}).encode()


def test_the_content_type_counts_where_the_content_names_no_type() -> None:
    assert parse(b'{"manifests": []}', f"{INDEX}; charset=utf-8").media_type == INDEX


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"[" * 100_000, "not JSON"),
        (b"\xff", "not JSON"),
        (b'{"schemaVersion": 1, "fsLayers": []}', "old format"),
        (b'{"mediaType": "application/json"}', "neither an index nor"),
        (index(config={}), "neither an index nor"),
        (json.dumps({"mediaType": MANIFEST, "manifests": []}).encode(), "neither an index nor"),
        (index("text"), "damaged"),
        (index({"mediaType": MANIFEST, "digest": "sha256:../../x"}), "damaged"),
        (json.dumps({"mediaType": INDEX}).encode(), "missing"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse(body, "text/plain")


def test_an_artifact_has_no_config_to_read() -> None:
    body = {
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": DIGEST},
    }
    assert parse(json.dumps(body).encode(), "").config is None


def test_an_entry_of_another_kind_or_an_unheard_of_platform_is_left_out() -> None:
    content = parse(
        index(
            {"mediaType": INDEX, "digest": DIGEST},
            {
                "mediaType": MANIFEST,
                "digest": DIGEST,
                "platform": {"os": "linux/../x", "architecture": "amd64"},
            },
            {"mediaType": MANIFEST, "digest": DIGEST, "platform": {"os": "linux"}},
            {"mediaType": MANIFEST, "digest": DIGEST, "platform": {"os": "windows", "architecture": "amd64"}},
        ),
        "",
    )
    assert [str(entry.platform) for entry in content.entries] == ["windows/amd64"]


def test_annotations_are_texts_alone() -> None:
    content = parse(index(annotations={"a": "text", "b": 1, "c": None}), "")
    assert content.annotations == {"a": "text"}


@given(JSON, st.sampled_from([INDEX, MANIFEST]))
def test_no_content_upsets_the_reader(content: Any, media_type: str) -> None:
    body = json.dumps(content).encode()
    for read in (lambda: parse(body, media_type), lambda: platform_of(body)):
        with suppress(ValueError):
            read()


@pytest.mark.parametrize("digest", ["md5:900150983cd24fb0d6963f7d28e17f72", "sha256:abc", "", "abc"])
def test_a_digest_that_cannot_be_verified_matches_nothing(digest: str) -> None:
    assert not matches(b"abc", digest)


def test_longer_digests_are_verified_too() -> None:
    digest = (
        "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
        "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
    )
    assert matches(b"abc", digest)
    assert not matches(b"abd", digest)
