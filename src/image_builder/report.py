# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a person sees of a build: its steps as they go, and a table of the images."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.sodalite.image_builder.plugins.module_utils.reference import Reference
from rich.console import Console
from rich.table import Table
from rich.text import Text

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


def table(images: Sequence[Mapping[str, Any]]) -> Table:
    """The images of a result (see the module ``images``) as a table."""
    made = Table()
    for heading in ("Image", "Tag", "Platforms", "Digest", "Base", "Time", "State"):
        # What a person copies stays whole, and is folded where the terminal is narrow.
        made.add_column(heading, overflow="fold")
    for image in images:
        word, style = _STATES[image["state"]]
        made.add_row(
            Text(image["image_name"]),
            Text(image["tag"]),
            Text("\n".join(entry["platform"] for entry in image["platforms"])),
            Text(image["digest"]),
            Text("\n".join(_bases(image["bases"]))),
            f"{image['seconds']:.1f} s",
            Text(word, style),
        )
    return made


def _bases(bases: Sequence[Mapping[str, Any]]) -> list[str]:
    """The base references as people write them, each once whatever the number of platforms."""
    return list(dict.fromkeys(Reference.parse(base["reference"]).familiar for base in bases))
