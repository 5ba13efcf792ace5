# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The options of ``RUN --mount``, which are one line of CSV.

Rules: BuildKit's ``parseMount``, and the package ``csvvalue`` that it reads fields with.
"""

from __future__ import annotations

from typing import Optional


def mount_fields(mount: str) -> Optional[list[tuple[str, bool, str]]]:
    """The options as lower-case key, whether there is a ``=``, and value.

    ``None`` stands for what is no CSV: quotes that do not fit, or nothing.
    """
    if not mount:
        return None
    fields: list[tuple[str, bool, str]] = []
    position = 0
    while True:
        if mount.startswith('"', position):
            field, position = _quoted(mount, position + 1)
            if position < 0:
                return None
        else:
            end = mount.find(",", position)
            field = mount[position : end if end >= 0 else len(mount)]
            if '"' in field:
                return None
            position += len(field)
        key, equals, value = field.partition("=")
        fields.append((key.lower(), bool(equals), value))
        if position >= len(mount):
            return fields
        position += 1


def mount_from(mount: str) -> Optional[str]:
    """What the mount is of, empty where it says nothing; ``None`` where quotes do not fit."""
    fields = mount_fields(mount)
    if fields is None:
        return None
    return ([""] + [value for key, equals, value in fields if key == "from" and equals])[-1]


def with_mount_from(mount: str, name: str) -> str:
    """The mount, one whose quotes fit, of ``name``."""
    return ",".join(
        _field(key, equals, name if key == "from" else value)
        for key, equals, value in mount_fields(mount) or ()
    )


def _field(key: str, equals: bool, value: str) -> str:
    text = f"{key}={value}" if equals else key
    if "," not in text and '"' not in text:
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _quoted(mount: str, position: int) -> tuple[str, int]:
    """The field behind an opening quote, and the position behind its closing one, or -1."""
    parts: list[str] = []
    while True:
        end = mount.find('"', position)
        if end < 0:
            return "", -1
        parts.append(mount[position:end])
        position = end + 1
        if not mount.startswith('"', position):
            return '"'.join(parts), position if mount[position : position + 1] in ("", ",") else -1
        position += 1
