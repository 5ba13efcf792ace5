# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The secrets of a document, kept out of the errors of an operation; see ``HidingListener`` for the rest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from ..errors import BuilderError
from ..secret import Secret, redact


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
