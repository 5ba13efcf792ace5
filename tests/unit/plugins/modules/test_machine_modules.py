# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How the modules that set a machine up end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def run(module: str, arguments: dict[str, object]) -> dict[str, Any]:
    program = f"ansible_collections.sodalite.image_builder.plugins.modules.{module}"
    done = subprocess.run(
        [sys.executable, "-m", program],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": arguments}),
        capture_output=True,
        text=True,
        timeout=60,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("module", "arguments", "code"),
    [
        (
            "background_service",
            {"name": "ours", "prefix": "/no/prefix", "command": ["/no/program"], "log": "/no/log"},
            "program_missing",
        ),
        (
            "debian_unpack",
            {"packages": ["tool"], "platforms": ["linux/sparc64"], "dest": "/no/folder"},
            "no_debian_architecture",
        ),
        ("debian_recorded", {"record": "RECORD", "state": "absent"}, "invalid_record"),
        # A folder that cannot be made, as where the module does not run as root.
        (
            "background_service",
            {"name": "ours", "prefix": "/no/prefix", "command": ["/bin/sh"], "log": "RECORD/below/log"},
            "system_error",
        ),
    ],
)
def test_a_failure_is_told_to_people_and_to_programs(
    tmp_path: Path, module: str, arguments: dict[str, object], code: str
) -> None:
    (tmp_path / "record").write_text("{")
    given = {
        key: value.replace("RECORD", str(tmp_path / "record")) if isinstance(value, str) else value
        for key, value in arguments.items()
    }
    result = run(module, given)
    assert result["failed"]
    assert (result["error"]["code"], result["error"]["phase"]) == (code, "machine")
    assert result["error"]["message"] in result["msg"]
    assert result["error"]["hint"] in result["msg"]
