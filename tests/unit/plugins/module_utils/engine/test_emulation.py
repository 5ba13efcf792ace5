# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What this machine's kernel runs."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import emulation


@pytest.mark.parametrize(
    ("wanted", "programs"),
    [([], 0), (["linux/amd64", "linux/arm64"], 0), (["linux/amd64", "linux/386"], 1)],
    ids=str,
)
def test_a_program_is_tried_only_for_the_platform_that_nothing_else_tells_of(
    wanted: list[str], programs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []

    def run(argv: list[str], **settings: Any) -> Any:
        tried.append(argv)
        return subprocess.CompletedProcess(argv, 0)

    monkeypatch.setattr(emulation.os, "uname", lambda: type("Uname", (), {"machine": "x86_64"}))
    monkeypatch.setattr(emulation.subprocess, "run", run)
    found = emulation.runnable(wanted)
    assert len(tried) == programs
    assert set(wanted) - {"linux/arm64"} == set(found) - {"linux/arm64"}
