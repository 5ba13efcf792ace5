# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The whole document: checked without reading anything, resolved once, and shown without its secrets."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document import argument_spec
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_document
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.check import check
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.options import Options
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.resolve import resolve
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import (
    MASK,
    Secret,
    SecretReference,
)

from tests.support.hostile import DOCUMENTS, dotted, places, replaced

ENV, FILE = {"env": "IMAGE_BUILDER_TEST_TOKEN"}, {"file": "/nonexistent/key"}
RAW: dict[str, Any] = {
    "source": {
        "dockerfile": {"url": "https://a.example.com/Dockerfile", "username": "me", "password": "hunter2"},
        "build_context": {"url": "https://git.example.com/app.git", "password": ENV},
    },
    "target": {
        "images": [
            {"image": "a", "build_args": {"password": "hunter2 is no secret here"}},
            {"image": "b", "secrets": {"a.b": "hunter2", "file": FILE}},
        ],
        "registry": {"url": "registry.example.com", "username": "me", "password": ENV},
    },
    "options": None,
}


def faults(raw: Any) -> list[str]:
    with pytest.raises(ParameterError) as caught:
        accept_document(raw)
    return caught.value.faults


def test_checking_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        for name in ("os.environ", "os.open", "builtins.open"):
            patched.setattr(name, None)
        checked = check(RAW)
    assert [secret.path for secret in checked.secrets] == [
        "source.dockerfile.password",
        "source.build_context.password",
        "target.registry.password",
        "target.images[1].secrets.a.b",
        "target.images[1].secrets.file",
    ]


def test_each_secret_is_read_once_in_the_order_of_the_document_and_from_no_other_place() -> None:
    asked: list[tuple[str, str]] = []

    def read(reference: SecretReference) -> str:
        asked.append((reference.form, reference.name))
        return f"read {len(asked)}"

    before = copy.deepcopy(RAW)
    checked = check(RAW)
    resolved = resolve(checked, read)
    assert asked == [
        ("text", "hunter2"),
        ("env", ENV["env"]),
        ("env", ENV["env"]),
        ("text", "hunter2"),
        ("file", FILE["file"]),
    ]
    assert resolved.source.file.password == Secret("read 1")
    assert resolved.source.context.password == Secret("read 2")
    assert resolved.target.registry.password == Secret("read 3")
    assert resolved.target.images[1].secrets == {"a.b": Secret("read 4"), "file": Secret("read 5")}
    assert resolved.raw["source"]["build_context"]["password"] == "read 2"
    assert resolved.raw["target"]["images"][1]["secrets"] == {"a.b": "read 4", "file": "read 5"}
    assert resolved.raw["target"]["images"][0] == RAW["target"]["images"][0]
    assert before == RAW
    assert checked == check(RAW) != resolved


def test_every_fault_of_reading_secrets_is_told_with_its_path() -> None:
    def fails(reference: SecretReference) -> str:
        raise ValueError(f"no {reference.form}")

    with pytest.raises(ParameterError) as caught:
        resolve(check(RAW), fails)
    assert caught.value.faults == [
        "source.dockerfile.password: no text",
        "source.build_context.password: no env",
        "target.registry.password: no env",
        "target.images[1].secrets.a.b: no text",
        "target.images[1].secrets.file: no file",
    ]


def test_a_fault_of_the_document_and_one_of_reading_a_secret_are_told_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(ENV["env"], raising=False)
    raw = copy.deepcopy(RAW)
    raw["target"]["images"][0]["platforms"] = ["linux"]
    raw["custom_workdir"] = "work"
    wrong, workdir, *unread = faults(raw)
    assert wrong.startswith("target.images[0].platforms[0]: 'linux' is not a platform")
    assert workdir.startswith("custom_workdir: 'work' is not absolute")
    unset = f"the environment variable {ENV['env']} is not set"
    assert unread == [
        f"source.build_context.password: {unset}",
        f"target.registry.password: {unset}",
        "target.images[1].secrets.file: the file /nonexistent/key cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize("read", [False, True], ids=["checked", "resolved"])
def test_a_masked_document_shows_all_but_the_text_of_secrets(read: bool) -> None:
    document = check(RAW)
    if read:
        document = resolve(document, lambda reference: f"the text of {reference.path}")
    expected = copy.deepcopy(RAW)
    expected["source"]["dockerfile"]["password"] = MASK
    expected["target"]["images"][1]["secrets"]["a.b"] = MASK
    assert document.masked() == expected
    assert "hunter2" not in repr(document.source)
    assert "the text of" not in repr(document)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_masked_document_hides_the_secrets_of_every_place(name: str) -> None:
    secret = {dotted(place) for place in places(DOCUMENTS[name]) if place[-1] in ("password", "s", "key")}
    masked = check(DOCUMENTS[name]).masked()
    for place in places(DOCUMENTS[name]):
        original: Any = DOCUMENTS[name]
        shown: Any = masked
        for part in place:
            original, shown = original[part], shown[part]
        assert shown == (MASK if dotted(place) in secret else original)


def test_the_folder_for_workspaces_is_an_absolute_path_or_nothing(tmp_path: Path) -> None:
    plain = {key: DOCUMENTS["git"][key] for key in ("source", "target")}
    for right in (str(tmp_path), "~/work"):
        assert check({**plain, "custom_workdir": right}).custom_workdir == right
    for nothing in (None, ""):
        assert check({**plain, "custom_workdir": nothing}).custom_workdir is None
    for wrong in ("work", "~", 7, ["/work"]):
        (fault,) = faults({**plain, "custom_workdir": wrong})
        assert fault.startswith("custom_workdir: ")


@pytest.mark.parametrize("raw", [None, [], "text", 7])
def test_what_is_no_document_at_all_is_a_fault_among_those_of_its_missing_parts(raw: Any) -> None:
    first, *others = faults(raw)
    assert first.startswith("the document: expected a mapping, got ")
    assert [fault.partition(":")[0] for fault in others] == ["source", "target"]


def specified(options: dict[str, Any], place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """The places of all keys in an argument specification."""
    for name, entry in options.items():
        here = (*place, name)
        if entry["type"] == "list" and "options" in entry:
            yield from specified(entry["options"], (*here, 0))
        elif "options" in entry:
            yield from specified(entry["options"], here)
        else:
            yield here


SPECIFIED = {
    "source": argument_spec.SOURCE,
    "target": argument_spec.TARGET,
    "options": argument_spec.OPTIONS,
}


@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, id=dotted(place))
        for part, options in SPECIFIED.items()
        for place in specified(options, (part,))
    ],
)
def test_every_key_of_a_modules_arguments_is_looked_at_by_the_check(place: tuple[Any, ...]) -> None:
    for raw in DOCUMENTS.values():
        if any(found[: len(place)] == place for found in places(raw)):
            # Nothing takes this for a value, so a key that passes with it is known and forgotten.
            found = faults(replaced(raw, place, object()))
            assert any(fault.startswith(dotted(place)) for fault in found), found
            return
    pytest.fail(f"no document has {dotted(place)}")


def test_the_arguments_of_a_module_have_the_options_and_their_defaults() -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(Options)}
    found = {name: entry.get("default") for name, entry in argument_spec.OPTIONS.items()}
    assert found == defaults


@pytest.mark.parametrize(
    ("relative", "written"),
    [
        ("work", "/var/tmp/work, or ~/work"),
        ("../a/builds/", "/var/tmp/builds, or ~/builds"),
        (".", "/var/tmp/app, or ~/app"),
    ],
)
def test_a_relative_folder_for_workspaces_is_told_what_to_write(relative: str, written: str) -> None:
    plain = {key: DOCUMENTS["git"][key] for key in ("source", "target")}
    (fault,) = faults({**plain, "custom_workdir": relative})
    assert fault.startswith(f"custom_workdir: {relative!r} is not absolute, ")
    assert fault.endswith(f"; write an absolute path, such as {written} in the home of the user that builds")
    for path in written.split(", or "):
        assert check({**plain, "custom_workdir": path}).custom_workdir == path
