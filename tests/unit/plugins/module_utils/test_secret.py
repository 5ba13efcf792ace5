# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import base64
import json
import textwrap
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import (
    MASK,
    Secret,
    _Finder,
    redact,
)
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


KEY_LINES = [base64.b64encode(bytes(range(n, n + 48))).decode() for n in range(0, 100, 20)]
KEY = "\n".join(["-----BEGIN PRIVATE KEY-----", *KEY_LINES, "c2hvcnQ=", "-----END PRIVATE KEY-----"])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
@pytest.mark.parametrize("tail", ["", "\n", "\r\n", "\n\n"], ids=["", "lf", "crlf", "two"])
def test_no_line_of_a_secret_survives_however_its_lines_end(end: str, tail: str) -> None:
    given = KEY.replace("\n", end) + tail
    coded = base64.encodebytes(given.encode()).decode()
    texts = [
        *(given, KEY, KEY.replace("\n", "\r\n"), " ".join(KEY_LINES)),
        *(f"#7 0.1 {line}" for line in KEY_LINES),
        textwrap.indent(KEY, "  | "),
        json.dumps({"error": given}),
        json.dumps(json.dumps([KEY])),
        quote(given),
        quote_plus(KEY + "\n"),
        *(coded, coded.replace("\n", "\r\n"), *coded.splitlines()),
        "\n".join(textwrap.wrap(base64.b64encode((KEY + "\n").encode()).decode(), 64)),
        base64.b64encode(f"deploy:{given}".encode()).decode(),
    ]
    left = [*KEY_LINES, *(line[4:20] for line in KEY_LINES)]
    for text in texts:
        shown = redact(text, [Secret(given)])
        assert MASK in shown
        assert not [part for part in left if part in shown]


@pytest.mark.parametrize("account", ["u", "me", "team", "a:b", "łódź"])
@pytest.mark.parametrize("password", ["hunter", "correct horse", "pä?ss>wörd~~"])
def test_a_login_that_an_error_echoes_in_base64_is_masked(account: str, password: str) -> None:
    login = f"{account}:{password}".encode()
    for coded in (base64.b64encode(login).decode(), base64.urlsafe_b64encode(login).decode().rstrip("=")):
        shown = redact(f'401 for "Authorization: Basic {coded}", sorry', [Secret(password)])
        # What stays is at most the name, whose Base64 ends before the password's begins.
        named = base64.b64encode(f"{account}:".encode()).decode()
        assert shown in {f'401 for "Authorization: Basic {kept}{MASK}", sorry' for kept in ("", named)}


def test_an_ordinary_word_that_is_a_line_of_a_secret_is_masked_only_as_all_of_a_line() -> None:
    secret = Secret("user\n{\n  pass: x\n}\nhunter22hunter22\n")
    assert redact("the user runs {a}", [secret]) == "the user runs {a}"
    assert redact("it says:\n  user  \nand hunter22hunter22!", [secret]) == f"it says:\n{MASK}\nand {MASK}!"


def test_a_line_end_at_the_end_of_a_secret_is_not_waited_for() -> None:
    for end in ("\n", "\r\n", "\n\n"):
        assert redact("got pw, b'cHc=' and cHcK", [Secret(f"pw{end}")]) == f"got {MASK}, b'{MASK}' and {MASK}"


def test_of_many_forms_only_those_are_tried_whose_begin_is_there() -> None:
    forms = sorted((f"{n:06}{'x' * n}" for n in range(1000)), key=len, reverse=True)
    finder = _Finder(forms)
    assert list(finder.candidates("nothing of it " * 100)) == []
    assert list(finder.candidates("a000007b000400")) == [forms[599], forms[992]]
