# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Running commands of ``image-builder`` in this process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from image_builder.cli import app


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Runs ``image-builder`` with arguments. No engine answers; temporary files go to ``tmp``."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))

    def run(*arguments: str | Path) -> Ended:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="image-builder")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    return run
