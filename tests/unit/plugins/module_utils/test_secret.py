# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import MASK, Secret, read, redact
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


def test_a_secret_is_text_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGE_BUILDER_TEST_TOKEN", "from env\n")
    assert read("text") == Secret("text")
    assert read(Secret("text")) == Secret("text")
    assert read({"env": "IMAGE_BUILDER_TEST_TOKEN"}) == Secret("from env\n")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a", "a"),
        ("a\n", "a"),
        ("a\r\n", "a"),
        ("a\n\n", "a\n"),
        ("\n", ""),
        ("", ""),
        (" a ", " a "),
        ("é\n", "é"),
    ],
)
def test_one_line_end_of_a_file_does_not_count(content: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content.encode())
    assert read({"file": str(file)}).reveal() == expected


def test_a_file_in_the_home_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "secret").write_text("text", encoding="utf-8")
    assert read({"file": "~/secret"}) == Secret("text")


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        True,
        [],
        {},
        {"env": ""},
        {"env": 7},
        {"file": ""},
        {"file": "a\0b"},
        {"vault": "x"},
        {"env": "A", "file": "b"},
    ],
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"give text, \{env: NAME\} or \{file: PATH\}"):
        read(value)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="the environment variable NO_SUCH_NAME is not set"):
        read({"env": "NO_SUCH_NAME"})
    with pytest.raises(ValueError, match=f"the file {tmp_path}/missing cannot be read: No such file"):
        read({"file": f"{tmp_path}/missing"})
    with pytest.raises(ValueError, match=f"the file {tmp_path} cannot be read: Is a directory"):
        read({"file": str(tmp_path)})
    with pytest.raises(ValueError, match=f"the file {binary} cannot be read: it is not UTF-8 text"):
        read({"file": str(binary)})


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
