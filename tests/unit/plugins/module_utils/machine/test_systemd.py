# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.systemd import unit_text


def unit(*command: str, before: tuple[str, ...] = ()) -> str:
    return unit_text(
        "ours", command, before=before, path="/opt/ours/bin:/usr/bin", home="/var/lib/ours", log=Path("/log")
    )


def test_arguments_reach_the_program_as_they_are() -> None:
    text = unit("/bin/echo", 'a "quoted" one', "100%", "$HOME", before=("/bin/true", "up"))
    assert 'ExecStart="/bin/echo" "a \\"quoted\\" one" "100%%" "$$HOME"\n' in text
    assert 'ExecStartPre="/bin/true" "up"\n' in text
    assert "Environment=PATH=/opt/ours/bin:/usr/bin HOME=/var/lib/ours\n" in text
    assert "StandardOutput=append:/log\n" in text
    assert "ExecStartPre" not in unit("/bin/echo")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_finds_no_fault_in_a_unit(tmp_path: Path) -> None:
    path = tmp_path / "ours.service"
    path.write_text(unit("/bin/echo", "100%", "$HOME", before=("/bin/true",)))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True, timeout=60
    )
    assert "ours.service" not in done.stderr, done.stderr
