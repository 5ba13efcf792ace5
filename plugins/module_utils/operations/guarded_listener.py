# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a listener is told, and what it raises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ..errors import BuilderError, from_os_error
from ..listener import Event, Listener
from ..text import printable, printable_lines


class GuardedListener:
    """Tells ``listener``, in printable texts; what it raises ends the work as a ``BuilderError``.

    What is one already stays as it is, and what the operating system refused is told as everywhere (see
    ``from_os_error``). Everything else has the code ``listener_failed``.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def line(self, text: str) -> None:
        """Tell a line."""
        with _explained():
            self._listener.line(printable_lines(text))

    def event(self, event: Event) -> None:
        """Tell an event."""
        with _explained():
            self._listener.event(
                replace(
                    event,
                    image=printable(event.image),
                    platform=printable(event.platform),
                    text=printable(event.text),
                    line=printable_lines(event.line),
                )
            )


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except BuilderError:
        raise
    except OSError as error:
        raise from_os_error(error) from error
    except Exception as error:
        raise BuilderError(
            "listener_failed",
            f"Progress could not be reported: {str(error) or type(error).__name__}.",
            hint="Correct the listener, then run it again.",
        ) from error
