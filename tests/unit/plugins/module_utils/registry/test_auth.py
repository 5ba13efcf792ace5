# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Reading a registry's challenges."""

from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.auth import challenges
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], {}),
        (["Basic"], {"basic": {}}),
        (['Basic realm="a, b"'], {"basic": {"realm": "a, b"}}),
        (
            ['Bearer realm="https://auth.test/token",service="reg",scope="repository:a/b:pull,push"'],
            {
                "bearer": {
                    "realm": "https://auth.test/token",
                    "service": "reg",
                    "scope": "repository:a/b:pull,push",
                }
            },
        ),
        (
            ['BEARER Realm = "x" , service=bare, Basic realm="y"'],
            {"bearer": {"realm": "x", "service": "bare"}, "basic": {"realm": "y"}},
        ),
        (['Basic realm="x"', 'Bearer realm="y"'], {"basic": {"realm": "x"}, "bearer": {"realm": "y"}}),
        ([r'Basic realm="say \"x\""'], {"basic": {"realm": 'say "x"'}}),
    ],
)
def test_challenges_are_read_however_they_are_written(
    headers: list[str], expected: dict[str, dict[str, str]]
) -> None:
    assert challenges(headers) == expected


@given(st.lists(st.text(alphabet='Bearer asic="\\, \t;/:')))
def test_no_challenge_upsets_the_reader(headers: list[str]) -> None:
    assert all(isinstance(parameters, dict) for parameters in challenges(headers).values())
