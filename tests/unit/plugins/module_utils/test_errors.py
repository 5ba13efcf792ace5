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
        "retryable": True,
    }


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
