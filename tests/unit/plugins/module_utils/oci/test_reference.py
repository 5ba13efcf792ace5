# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from hypothesis import given
from hypothesis import strategies as st

A = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("alpine", "docker.io/library/alpine:latest", "alpine"),
        ("alpine:3.18", "docker.io/library/alpine:3.18", "alpine:3.18"),
        (f"alpine@{A}", f"docker.io/library/alpine@{A}", f"alpine@{A}"),
        (f"alpine:latest@{A}", f"docker.io/library/alpine:latest@{A}", f"alpine:latest@{A}"),
        ("docker.io/alpine", "docker.io/library/alpine:latest", "alpine"),
        ("index.docker.io/library/alpine", "docker.io/library/alpine:latest", "alpine"),
        ("team/app", "docker.io/team/app:latest", "team/app"),
        ("localhost/app", "localhost/app:latest", "localhost/app"),
        ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
        ("registry.example.com/a/b__c/d-e.f", "registry.example.com/a/b__c/d-e.f:latest", None),
        ("Registry/app", "Registry/app:latest", "Registry/app"),
        ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app"),
        ("a" * 65, f"docker.io/library/{'a' * 65}:latest", None),
    ],
)
def test_references_are_read_as_docker_pull_reads_them(text: str, full: str, familiar: str) -> None:
    reference = Reference.parse(text)
    assert str(reference) == full
    assert reference.familiar == (familiar or text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " alpine",
        "alpine ",
        "alpine\n",
        "Alpine",
        "team/App",
        "alpine:",
        "alpine:.1",
        "alpine:1:2",
        "alpine:" + "1" * 129,
        "alpine@",
        "alpine@sha256:abc",
        "alpine@md5:" + "a" * 32,
        f"alpine@{A}@{A}",
        "a__" * 2,
        "a___b",
        "a..b",
        "/alpine",
        "alpine/",
        "a//b",
        "-host.x/app",
        "host:port/app",
        "host:123456/app",
        "user@host/app",
        "https://host/app",
        "a" * 64,
        "--option",
        "a b",
        "a,b",
        "${x}",
        "a\0b",
        "x" * 256,
    ],
)
def test_what_is_no_reference_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not an image reference"):
        Reference.parse(text)


WORD = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,5})?", fullmatch=True)
HOSTS = st.one_of(
    st.just("docker.io"),
    st.from_regex(r"[a-z0-9]{1,8}\.[a-z]{2,5}(:[1-9][0-9]{0,3})?", fullmatch=True),
    st.from_regex(r"localhost(:[1-9][0-9]{0,3})?", fullmatch=True),
)
TAGS = st.one_of(
    st.none(), st.just("latest"), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True)
)
DIGESTS = st.one_of(st.none(), st.from_regex(r"sha256:[0-9a-f]{64}", fullmatch=True))


@st.composite
def references(draw: st.DrawFn) -> Reference:
    path = "/".join(draw(st.lists(WORD, min_size=1, max_size=3)))
    host = draw(HOSTS)
    if host == "docker.io" and "/" not in path:
        path = f"library/{path}"
    tag, digest = draw(TAGS), draw(DIGESTS)
    return Reference(host, path, tag if tag or digest else "latest", digest)


@given(references())
def test_a_printed_reference_reads_as_itself(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference


@given(references())
def test_the_familiar_form_means_the_same(reference: Reference) -> None:
    # Docker reads the first part of a path as a host where it looks like one.
    head, slash, _ = reference.familiar.partition("/")
    if reference.registry == "docker.io" and slash and ("." in head or head == "localhost"):
        return
    assert Reference.parse(reference.familiar) == reference


@given(st.text())
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except ValueError:
        return
    assert Reference.parse(str(reference)) == reference


def test_a_reference_can_be_pinned() -> None:
    assert str(Reference.parse("alpine:3").with_digest(A)) == f"docker.io/library/alpine:3@{A}"
