# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Where the secrets of a document are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ..secret import Secret, read
from .faults import Faults

# Programs get secrets in environment variables, which Linux limits to 128 KiB each (MAX_ARG_STRLEN).
_LONGEST_SECRET_BYTES = 120_000


def read_secret(faults: Faults, path: str, value: Any, *, lines: bool = False) -> Optional[Secret]:
    """A secret in one of its forms; ``lines`` allows it several lines."""
    if value is None:
        return None
    secret = faults.made(path, read, value)
    if secret is None:
        return None
    if not secret.reveal():
        faults.add(path, "must not be empty")
    elif faults.usable(path, secret.reveal(), lines=lines, longest=_LONGEST_SECRET_BYTES) and (
        len(secret.reveal().encode()) > _LONGEST_SECRET_BYTES
    ):
        faults.add(path, f"must not be longer than {_LONGEST_SECRET_BYTES} bytes")
    return secret


def with_secrets_read(source: Any, target: Any) -> tuple[Any, Any]:
    """Copies of a checked document's parts in which ``{env: …}`` and ``{file: …}`` are read.

    For a document that is checked where it was written and built on another machine.
    """
    return _read_in(source, ("*", "password")), _read_in(
        _read_in(target, ("registry", "password")), ("images", "*", "secrets", "*")
    )


def _read_in(value: Any, path: tuple[str, ...]) -> Any:
    if not path:
        return None if value is None else read(value).reveal()
    if isinstance(value, Mapping):
        return {
            key: _read_in(item, path[1:]) if path[0] in (key, "*") else item for key, item in value.items()
        }
    if isinstance(value, (list, tuple)) and path[0] == "*":
        return [_read_in(item, path[1:]) for item in value]
    return value
