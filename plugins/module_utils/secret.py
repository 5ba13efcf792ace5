# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Secrets: where they come from, and how they stay out of everything people read."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

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
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def read(value: Any) -> Secret:
    """Resolve a secret given as text, ``{"env": NAME}`` or ``{"file": PATH}``.

    One line end at the end of a file does not count. Raises ``ValueError`` with a
    sentence that names the variable or file, never its content.
    """
    if isinstance(value, Secret):
        return value
    if isinstance(value, str):
        return Secret(value)
    if isinstance(value, dict) and len(value) == 1:
        ((kind, name),) = value.items()
        if kind == "env" and isinstance(name, str) and name:
            if name not in os.environ:
                raise ValueError(f"the environment variable {name} is not set")
            return Secret(os.environ[name])
        if kind == "file" and isinstance(name, str) and name and "\0" not in name:
            try:
                with open(os.path.expanduser(name), encoding="utf-8") as file:
                    text = file.read()
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
                raise ValueError(f"the file {name} cannot be read: {reason}") from None
            return Secret(text[:-1].removesuffix("\r") if text.endswith("\n") else text)
    raise ValueError("give text, {env: NAME} or {file: PATH}")


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
