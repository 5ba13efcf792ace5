# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A repository's secrets, kept out of all that is told of it.

A server knows the password that it was given, and may send it back: in a message, in the name of a branch or
a file, as the address of a submodule, or as part of a redirect.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...document.source import GitRepo
from ...errors import SourceError
from ...listener import Event, Listener
from ...secret import Secret, redact
from .environment import account


class Masked:
    """Tells ``listener`` of ``repo``, without its secrets."""

    def __init__(self, repo: GitRepo, listener: Listener) -> None:
        self._listener = listener
        # HTTP has the user name and the password as one text, in Base64.
        self._secrets = [repo.password, Secret(":".join(account(repo)))] if repo.password else []

    def text(self, text: str) -> str:
        """``text`` without secrets."""
        return redact(text, self._secrets) if self._secrets else text

    def line(self, text: str) -> None:
        """Tell a line."""
        self._listener.line(self.text(text))

    def event(self, event: Event) -> None:
        """Tell an event, of which sources have none."""
        self._listener.event(event)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Take secrets out of what is raised in the block."""
        try:
            yield
        except SourceError as error:
            error.message, error.hint = self.text(error.message), self.text(error.hint)
            error.args = (error.message,)
            raise
