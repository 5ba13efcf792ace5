# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A checked document with its secrets read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from ..secret import Secret, SecretReference
from .document import Document, with_values
from .faults import Faults
from .secrets import Reader, read_secrets

_T = TypeVar("_T")


def resolve(document: Document, reader: Reader) -> Document:
    """``document`` with a ``Secret`` for each reference, and the secrets' text in ``raw``.

    Raises ``ParameterError`` with the faults of all secrets.
    """
    faults = Faults()
    secrets = read_secrets(faults, document.secrets, reader)
    faults.raise_if_any()
    return with_secrets_in_document(document, secrets)


def with_secrets_in_document(document: Document, secrets: Mapping[str, Secret]) -> Document:
    """``document`` with the ``secrets``, by their paths, in its types and in ``raw``."""
    texts = {path: secret.reveal() for path, secret in secrets.items()}
    return replace(
        document,
        source=with_secrets(document.source, secrets),
        target=with_secrets(document.target, secrets),
        raw={name: with_values(item, texts, name) for name, item in document.raw.items()},
    )


def with_secrets(checked: _T, secrets: Mapping[str, Secret]) -> _T:
    """A copy of ``checked``, any part of a document, with ``secrets`` in place of their references."""
    return _replaced(checked, secrets)  # type: ignore[no-any-return]


def _replaced(value: Any, secrets: Mapping[str, Secret]) -> Any:
    if isinstance(value, SecretReference):
        return secrets[value.path]
    if isinstance(value, Mapping):
        return {key: _replaced(item, secrets) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_replaced(item, secrets) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _replaced(getattr(value, f.name), secrets) for f in fields(value)})
    return value
