# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A disk that is soon full, and can be made larger."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SmallDisk:
    """A file system of its own at ``folder``."""

    folder: Path

    def grow(self, megabytes: int) -> None:
        """Give it another size."""
        options = f"remount,size={megabytes}m"
        subprocess.run(["mount", "-o", options, str(self.folder)], check=True)

    def fill(self) -> None:
        """Take all the space that is left."""
        try:
            with (self.folder / "filler").open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        except OSError:
            return

    @property
    def content(self) -> list[str]:
        """What lies there, the filler left out."""
        return sorted(path.name for path in self.folder.iterdir() if path.name != "filler")


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount a file system in memory at the new ``folder``, until the end of the block."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
