# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The secrets of a document, kept out of all that an operation tells: lines, events, errors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ..errors import BuilderError
from ..listener import Event, Listener
from ..secret import Secret, redact


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


@contextmanager
def hiding(secrets: Sequence[Secret]) -> Iterator[None]:
    """Do work inside whose errors do not tell ``secrets``."""
    try:
        yield
    except BuilderError as error:
        hide([error], secrets)
        raise


def hide(errors: Iterable[BuilderError], secrets: Sequence[Secret]) -> None:
    """Take ``secrets`` out of the texts of ``errors``."""
    for error in errors:
        error.change_texts(lambda text: redact(text, secrets))
