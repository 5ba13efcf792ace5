# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import MachineError
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.commands import call, output


def test_a_program_that_hangs_is_ended_and_named() -> None:
    with pytest.raises(MachineError, match="did not end within") as raised:
        call(["sh", "-c", "sleep 600"], seconds=0.2)
    assert (raised.value.code, raised.value.phase) == ("program_timeout", "machine")


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(MachineError, match="/no/such/program is not on this machine") as raised:
        call(["/no/such/program"])
    assert raised.value.code == "program_missing"


def test_a_program_that_fails_is_quoted_with_its_last_words_only() -> None:
    with pytest.raises(MachineError) as raised:
        output(["sh", "-c", "yes no | head -n 9000 >&2; echo 'the disk burns' >&2; exit 3"])
    assert raised.value.code == "program_failed"
    assert raised.value.message.endswith("the disk burns.")
    assert len(raised.value.message) < 2100


def test_a_program_that_fails_silently_is_quoted_with_its_status() -> None:
    with pytest.raises(MachineError, match="it ended with status 7"):
        output(["sh", "-c", "exit 7"])
