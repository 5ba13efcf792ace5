# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A build as it goes: on a terminal a row for each image and platform, elsewhere plain lines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Lines, Listener
from rich.console import Console

from image_builder.terminal.tables import Steps


@contextmanager
def shown(console: Console) -> Iterator[Listener]:
    """Show on ``console`` what the block tells the listener that it gets."""
    steps = Steps(console)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(steps)
        return
    from rich.live import Live

    from image_builder.terminal.rows import LinesAndRows, Rows

    rows = Rows(console)
    # Gone at the end: what came of the build is printed after it.
    with Live(rows, console=console, transient=True, refresh_per_second=8):
        yield LinesAndRows(steps, rows)
