# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a person sees of a build: its steps as they go, and a table of the images."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sodalite.image_builder.plugins.module_utils.reference import Reference
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: How much of a digest people compare.
_SHORT = 12
_STATES = {
    "success": ("built", "green"),
    "unchanged": ("unchanged", "cyan"),
    "failed": ("failed", "red"),
    "pending": ("not built", "yellow"),
}


class Steps:
    """Prints steps as they come, each with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begun = time.monotonic()

    def __call__(self, line: str) -> None:
        """Print one step. Its text is never taken for markup."""
        self._console.print(Text(f"{time.monotonic() - self._begun:6.1f} s  {line}"), soft_wrap=True)


def show_images(console: Console, images: Sequence[Mapping[str, Any]]) -> None:
    """Print a table of a result's images (see the module ``images``), and each one's reference by digest."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("Image", "Tag", "Platforms", "Digest", "Base", "Time", "State"):
        table.add_column(
            heading, overflow="fold", no_wrap=heading in ("Platforms", "Digest", "Time", "State")
        )
    for image in images:
        word, style = _STATES[image["state"]]
        table.add_row(
            Text(image["image"]),
            Text(image["tag"]),
            Text("\n".join(entry["platform"] for entry in image["platforms"])),
            Text(image["digest"].removeprefix("sha256:")[:_SHORT]),
            Text("\n".join(_bases(image["bases"]))),
            f"{image['seconds']:.1f} s",
            Text(word, style),
        )
    console.print(table)
    for image in images:
        if image["digest"]:
            # Whole and on one line, to be copied.
            pinned = f"{image['registry']}/{image['image']}@{image['digest']}"
            console.print(Text(f"{image['tag']}: {pinned}"), soft_wrap=True)


def _bases(bases: Sequence[Mapping[str, Any]]) -> list[str]:
    """The base references as people write them, each once whatever the number of platforms."""
    return list(dict.fromkeys(Reference.parse(base["reference"]).familiar for base in bases))
