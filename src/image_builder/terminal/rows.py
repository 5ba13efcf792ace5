# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The rows of images and platforms that a terminal shows while they are built."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace

from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Event
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.text import printable
from rich.console import Console, RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from image_builder.terminal.tables import Steps

_STYLES = {"failed": "red", "success": "green", "unchanged": "cyan", "running": "", "pending": "dim"}
_SYMBOLS = {"failed": "✗", "success": "✓", "unchanged": "=", "pending": "·"}
_WORDS = {"failed": "failed", "success": "pushed", "unchanged": "unchanged", "pending": "waiting"}
# When there are more rows than lines, the first of these are shown.
_ORDER = ("failed", "running", "pending", "success", "unchanged")
# Lines of a terminal that stay free for what is printed above the rows.
_FREE_LINES = 4


@dataclass
class _Row:
    image: str
    platform: str
    state: str
    #: The running steps with their starts in seconds, the latest one last, and the one that came last.
    running: dict[str, float] = field(default_factory=dict)
    step: str = ""


class LinesAndRows:
    """A listener that prints lines above the rows, and draws events in them."""

    def __init__(self, steps: Steps, rows: Rows) -> None:
        self._steps = steps
        self._rows = rows

    def line(self, text: str) -> None:
        """Print ``text`` above the rows."""
        self._steps(text)

    def event(self, event: Event) -> None:
        """Draw ``event`` in its rows."""
        self._rows.take(event)


class Rows:
    """The state of each image and platform, made of the events of a build."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: list[_Row] = []
        self._spinner = Spinner("dots")
        # Events come from the thread that reads BuildKit's output, and Live draws in one of its own.
        self._lock = threading.Lock()

    def take(self, event: Event) -> None:
        """Take what happened into account."""
        event = replace(event, platform=printable(event.platform), text=printable(event.text))
        with self._lock:
            if event.state in ("pending", "unchanged"):
                self._rows.append(_Row(event.image, event.platform, event.state))
                return
            for row in self._rows:
                if row.image == event.image and event.platform in ("", row.platform):
                    _update(row, event)

    def __rich__(self) -> RenderableType:
        """The rows that fit on the terminal, and how many more there are."""
        table = Table.grid(padding=(0, 1), expand=True)
        for heading in ("", "image", "platform"):
            table.add_column(heading, no_wrap=True, overflow="ellipsis")
        table.add_column("step", no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column("time", no_wrap=True, justify="right")
        with self._lock:
            lines = max(self._console.height - _FREE_LINES, 1)
            rows = self._rows
            if len(rows) > lines:
                rows = sorted(rows, key=lambda row: _ORDER.index(row.state))[: lines - 1]
            for row in rows:
                table.add_row(*self._cells(row))
            hidden = len(self._rows) - len(rows)
        if hidden:
            table.add_row("", Text(f"and {hidden} more", "dim"))
        return table

    def _cells(self, row: _Row) -> tuple[RenderableType, ...]:
        style = _STYLES[row.state]
        name = Reference.parse(row.image)
        elapsed = ""
        step = Text(row.step or _WORDS.get(row.state, ""), style)
        if row.running:
            text, begun = list(row.running.items())[-1]
            step, elapsed = Text(text), f"{time.monotonic() - begun:.1f} s"
        elif row.state in ("success", "unchanged"):
            step = Text(_WORDS[row.state], style)
        symbol = self._spinner if row.state == "running" else Text(_SYMBOLS[row.state], style)
        return symbol, Text(f"{name.repository}:{name.tag}"), Text(row.platform), step, Text(elapsed, "dim")


def _update(row: _Row, event: Event) -> None:
    row.running.pop(event.text, None)
    if event.text:
        row.step = event.text
    if event.state == "started":
        row.state = "running"
        row.running[event.text] = time.monotonic()
    elif event.state in ("failed", "success"):
        row.state = event.state
        row.running.clear()
    elif event.state == "cancelled" and row.state != "failed":
        row.state = "pending"
        row.running.clear()
        row.step = ""
