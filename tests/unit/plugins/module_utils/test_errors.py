# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import errno

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import (
    BuilderError,
    BuildError,
    Cancelled,
    DockerfileError,
    EngineError,
    MachineError,
    ParameterError,
    Place,
    RegistryError,
    SourceError,
    from_os_error,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret, redact


def test_an_error_reads_as_place_what_happened_and_what_to_do() -> None:
    error = BuildError(
        "step_failed",
        "It failed.",
        hint="Correct it.",
        place=Place(image="team/app:1", platform="linux/arm64", file="docker/Dockerfile", line=3),
    )
    assert (
        str(error)
        == "image team/app:1, platform linux/arm64, docker/Dockerfile line 3: It failed. Correct it."
    )


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "x."),
        ({"place": Place(line=2)}, "line 2: x."),
        ({"place": Place(file="a")}, "a: x."),
        ({"hint": "Do y."}, "x. Do y."),
    ],
)
def test_what_is_not_known_of_an_error_is_left_out(fields: dict[str, object], text: str) -> None:
    assert str(BuilderError("c", "x.", **fields)) == text  # type: ignore[arg-type]


def test_programs_get_every_field() -> None:
    assert SourceError("no_ref", "x.", hint="y.", retryable=True).to_dict() == {
        "code": "no_ref",
        "phase": "fetch",
        "message": "x.",
        "hint": "y.",
        "image": None,
        "platform": None,
        "file": None,
        "line": None,
        "excerpt": [],
        "retryable": True,
    }


def test_an_error_shows_the_lines_around_its_own_with_that_one_marked() -> None:
    error = DockerfileError("c", "x.", place=Place(file="Dockerfile", line=9))
    error.show("\n".join(f"RUN {n}" for n in range(1, 12)))
    assert str(error).splitlines()[1:] == [
        "     7 | RUN 7",
        "     8 | RUN 8",
        "  >  9 | RUN 9",
        "    10 | RUN 10",
        "    11 | RUN 11",
    ]
    assert error.to_dict()["excerpt"] == [line[2:] for line in str(error).splitlines()[1:]]
    assert error.sentence() == "Dockerfile line 9: x."


@pytest.mark.parametrize("line", [None, 99])
def test_an_error_of_no_line_of_the_file_shows_none(line: int | None) -> None:
    error = DockerfileError("c", "x.", place=Place(line=line))
    error.show("FROM a\nRUN b\n")
    assert error.to_dict()["excerpt"] == []


def test_the_lines_shown_steer_no_terminal_and_are_no_longer_than_can_be_read() -> None:
    error = DockerfileError("c", "x.", place=Place(line=2))
    error.show("FROM a\r\nRUN \x1b]0;title\x07\t\u202eb\nRUN " + 1000 * "c")
    first, second, third = error.to_dict()["excerpt"]
    assert first == "  1 | FROM a"
    assert second.startswith(r"> 2 | RUN \x1b]0;title\x07 ")
    assert second.endswith(r" \u202eb")
    assert third.endswith("c…")
    assert len(third) < 200


def test_the_lines_shown_tell_no_secret_of_several_lines() -> None:
    error = DockerfileError("c", "x.", place=Place(line=1))
    error.show("RUN 'one two\nx1\n'")
    error.change_texts(lambda text: redact(text, [Secret("one two\nx1\n")]))
    assert [line[6:] for line in error.to_dict()["excerpt"]] == ["RUN 'one two", "********", "'"]


@pytest.mark.parametrize(
    ("kind", "phase"),
    [
        (SourceError, "fetch"),
        (DockerfileError, "plan"),
        (RegistryError, "plan"),
        (EngineError, "engine"),
        (BuildError, "build"),
        (MachineError, "machine"),
    ],
)
def test_each_kind_has_its_phase_and_may_be_given_another(kind: type[BuilderError], phase: str) -> None:
    assert kind("c", "x.").phase == phase
    assert kind("c", "x.", phase="report").to_dict()["phase"] == "report"


def test_a_wrong_document_lists_its_faults() -> None:
    one, two = ParameterError(["a: x"]), ParameterError(["a: x", "b: y"])
    assert str(one) == "The document has one fault: a: x."
    assert str(two) == "The document has 2 faults: a: x; b: y."
    assert two.to_dict()["faults"] == ["a: x", "b: y"]
    assert (two.code, two.phase) == ("invalid_parameters", "parameters")


def test_a_registrys_status_is_kept() -> None:
    assert RegistryError("registry_error", "x.", status=500).status == 500
    assert RegistryError("registry_error", "x.").status is None


@pytest.mark.parametrize(
    ("number", "code", "retryable"),
    [
        (errno.ENOSPC, "disk_full", True),
        (errno.EDQUOT, "disk_full", True),
        (errno.EACCES, "system_error", False),
    ],
)
def test_what_the_system_refuses_is_explained(number: int, code: str, retryable: bool) -> None:
    error = from_os_error(OSError(number, "Reason", "/some/file"))
    assert (error.code, error.retryable) == (code, retryable)
    assert "/some/file" in str(error)
    assert error.hint


def test_what_the_system_refuses_a_machine_that_is_set_up_is_no_failure_of_a_build() -> None:
    error = from_os_error(OSError(errno.ENOSPC, "Reason"), "machine")
    assert (error.code, error.phase) == ("disk_full", "machine")
    assert "custom_workdir" not in error.hint
    assert from_os_error(OSError(errno.EACCES, "Reason")).phase == "build"


def test_a_system_error_without_a_reason_is_explained_too() -> None:
    assert str(from_os_error(OSError("odd"))) == "odd. Check the machine."


def test_a_cancelled_build_says_so() -> None:
    assert Cancelled().code == "cancelled"
    assert not Cancelled().retryable
