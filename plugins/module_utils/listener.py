# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Who is told what goes on: a terminal, a file, or nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Callable, Literal, Protocol

from .secret import Secret, redact
from .text import printable_lines

#: What an image is, or what becomes of a step (``started``, ``done``, ``failed``).
EventState = Literal["pending", "unchanged", "success", "failed", "cancelled", "started", "done"]


@dataclass(frozen=True)
class Event:
    """What happened to an image, for a display of rows.

    ``platform`` is empty where all of the image's are meant. ``state`` is, for the image itself,
    ``pending``, ``unchanged``, ``success``, ``failed`` or ``cancelled`` (another image's failure ended its
    build, which may be tried again); for a step, which ``text`` names, ``started``, ``done`` or
    ``failed``. ``seconds`` is how long a step took. ``line`` is what a listener without rows
    shows of it, empty for nothing; where it is all there is to tell, ``image`` is empty.
    """

    image: str
    platform: str
    state: EventState
    text: str = ""
    seconds: float = 0.0
    line: str = field(default="", compare=False)


class Listener(Protocol):
    """Is told what goes on, from any thread.

    What it raises ends the build with that error.
    """

    def line(self, text: str) -> None:
        """One line of plain text for the user."""

    def event(self, event: Event) -> None:
        """What happened to an image."""


class Lines:
    """A listener without rows: gives ``write`` each line, and the lines of events.

    They steer no terminal that shows them (see ``printable``).
    """

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write

    def line(self, text: str) -> None:
        """Write ``text``."""
        self._write(printable_lines(text))

    def event(self, event: Event) -> None:
        """Write the line of ``event``, if it has one."""
        if event.line:
            self.line(event.line)


class HidingListener:
    """Tells ``listener`` everything but ``secrets``."""

    def __init__(self, listener: Listener, secrets: Sequence[Secret]) -> None:
        self._listener = listener
        self._secrets = secrets

    def line(self, text: str) -> None:
        """Tell a line."""
        self._listener.line(redact(text, self._secrets))

    def event(self, event: Event) -> None:
        """Tell an event."""
        text, line = redact(event.text, self._secrets), redact(event.line, self._secrets)
        self._listener.event(replace(event, text=text, line=line))


#: The listener that nobody hears.
SILENT: Listener = Lines(lambda _: None)
