# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What installations take is what is tested."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_extra_takes_the_older_opera_that_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    opera, _ = project["optional-dependencies"]["opera"]
    pinned = (ROOT / "requirements" / "opera-0.6.txt").read_text(encoding="utf-8")
    assert pinned.startswith(f"{opera} ")
