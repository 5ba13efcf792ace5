# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import base64
from urllib.parse import quote, quote_plus

from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import MASK, Secret, redact
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_a_secret_prints_as_a_mask() -> None:
    secret = Secret("hunter2")
    assert f"{secret} {secret!r} {[secret]}" == f"{MASK} {MASK} [{MASK}]"
    assert secret.reveal() == "hunter2"


def test_secrets_compare_by_their_text() -> None:
    assert Secret("a") == Secret("a") != Secret("b")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"


@given(secret=TEXTS, before=TEXTS, after=TEXTS)
def test_no_form_of_a_secret_survives_redaction(secret: str, before: str, after: str) -> None:
    encoded = base64.b64encode(secret.encode()).decode()
    forms = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), encoded}
    for form in forms:
        text = redact(f"{before}{form}{after}", [Secret("unrelated\0"), Secret(secret)])
        # A secret may be part of the mask, or of what stays when it is taken out.
        if secret not in MASK and secret not in before + MASK + after:
            assert secret not in text.replace(MASK, "")
        assert redact(form, [Secret(secret)]) == MASK or secret in MASK


def test_of_two_secrets_the_longer_goes_first() -> None:
    assert redact("abcdef abc", [Secret("abc"), Secret("abcdef")]) == f"{MASK} {MASK}"


def test_an_empty_secret_hides_nothing() -> None:
    assert redact("text", [Secret("")]) == "text"
