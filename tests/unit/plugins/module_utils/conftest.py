# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What tests of the source room share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import Workspace


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, so that no configuration of whoever runs the tests plays a part."""
    made = tmp_path / "home"
    made.mkdir()
    monkeypatch.setenv("HOME", str(made))
    for name in [name for name in os.environ if name.startswith(("GIT_", "XDG_", "SSH_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return made


@pytest.fixture
def workspace(tmp_path: Path, home: Path) -> Iterator[Workspace]:
    root = tmp_path / "root"
    root.mkdir()
    with Workspace.create(str(root)) as made:
        yield made
