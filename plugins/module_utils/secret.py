# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Secrets, read and not yet read, and how they stay out of everything people read."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote, quote_plus

#: How a document gives a secret: as text, ``{env: NAME}`` or ``{file: PATH}``.
SecretForm = Literal["text", "env", "file"]
MASK = "********"


class Secret:
    """A text that prints as a mask; ``reveal()`` gives it to the one place that needs it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        # One that was not read is equal to none that was.
        return type(other) is Secret and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True, repr=False)
class SecretReference(Secret):
    """A secret that a document gives or names, not read yet: ``reveal()`` fails.

    ``path`` is its place in the document, as faults name it. ``name`` is, by the ``form``, the text itself,
    the name of an environment variable, or the path of a file. ``lines`` allows it several lines.
    """

    path: str
    form: SecretForm
    name: str
    lines: bool = False

    def reveal(self) -> str:
        """Fails: what needs the text works on a document whose secrets were read (``resolve``)."""
        raise RuntimeError(f"{self.path} has not been read")

    def shown(self) -> Any:
        """What a document shows in its place: a mask for text, else where it comes from."""
        return MASK if self.form == "text" else {self.form: self.name}


def redact(text: str, secrets: Iterable[Secret]) -> str:
    """``text`` with every secret, plain, URL-quoted or in Base64, replaced by a mask."""
    forms: set[str] = set()
    for secret in secrets:
        plain = secret.reveal()
        if plain:
            forms.update((plain, quote(plain, safe=""), quote(plain), quote_plus(plain)))
            forms.add(base64.b64encode(plain.encode()).decode())
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text
