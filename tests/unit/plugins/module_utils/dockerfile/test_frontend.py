# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

from typing import Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.frontend import frontend_of
from ansible_collections.sodalite.image_builder.plugins.module_utils.dockerfile.instructions import parse
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError

DIGEST = f"sha256:{'1' * 64}"


@pytest.mark.parametrize(
    ("top", "given", "pinned", "line"),
    [
        ("", None, None, None),
        ("# syntax=docker/dockerfile:1\n", None, f"docker.io/docker/dockerfile:1@{DIGEST}", 1),
        ("#!/x\n#syntax = a.b/c  one two\n", None, f"a.b/c:latest@{DIGEST}  one two", 2),
        ("\ufeff# escape=`\n# Syntax=a/b\r\n", None, f"docker.io/a/b:latest@{DIGEST}", 2),
        ("# syntax=a/b\n", " c/d:1 x ", f"docker.io/c/d:1@{DIGEST} x", None),
        ("", "c/d", f"docker.io/c/d:latest@{DIGEST}", None),
    ],
)
def test_a_frontend_is_pinned_whoever_names_it(
    top: str, given: Optional[str], pinned: Optional[str], line: Optional[int]
) -> None:
    build_args = {} if given is None else {"BUILDKIT_SYNTAX": given}
    found = frontend_of(parse(f"{top}FROM alpine\n"), build_args)
    if pinned is None:
        assert found is None
    else:
        assert found is not None
        assert (found.pinned(DIGEST), found.line) == ({"BUILDKIT_SYNTAX": pinned}, line)


@pytest.mark.parametrize("given", ["", "a/B", "a/b:"])
def test_what_cannot_be_a_frontend_is_refused(given: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        frontend_of(parse("FROM alpine\n"), {"BUILDKIT_SYNTAX": given})
    assert "BUILDKIT_SYNTAX" in caught.value.hint
