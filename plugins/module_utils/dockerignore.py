# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which files of a build context reach BuildKit, and a digest of just those.

Rules: the Docker documentation of ``.dockerignore`` and the pattern matcher of the Moby
project (``patternmatcher``): the last pattern that matches decides, ``!`` brings back, a
pattern that matches a folder matches what is in it, ``**`` matches any number of folders.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Pattern:
    regex: re.Pattern[str]
    negated: bool


class Ignore:
    """The patterns of one ``.dockerignore`` file; without patterns nothing is ignored."""

    def __init__(self, text: str = "") -> None:
        self._patterns = [pattern for line in text.splitlines() if (pattern := _pattern(line))]

    def ignores(self, path: str) -> bool:
        """Whether the file or folder ``path`` (relative, ``/`` between names) stays behind."""
        parts = path.split("/")
        prefixes = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        ignored = False
        for pattern in self._patterns:
            if pattern.negated == ignored and any(pattern.regex.match(prefix) for prefix in prefixes):
                ignored = not pattern.negated
        return ignored

    @property
    def has_exceptions(self) -> bool:
        """Whether a file inside an ignored folder can come back."""
        return any(pattern.negated for pattern in self._patterns)


def read_ignore(context: str, dockerfile: str) -> Ignore:
    """The patterns in effect: ``<Dockerfile>.dockerignore`` beside it, else the context's own."""
    for path in (f"{dockerfile}.dockerignore", os.path.join(context, ".dockerignore")):
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
                return Ignore(file.read())
    return Ignore()


def context_digest(context: str, ignore: Ignore) -> str:
    """A SHA-256 over path, type, permissions and content of every file that is not ignored.

    Times, owners and folders without files do not count, as for BuildKit's own cache.
    """
    total = hashlib.sha256()
    for path in sorted(_files(context, ignore)):
        absolute = os.path.join(context, path)
        if os.path.islink(absolute):
            kind, content = "link", os.readlink(absolute)
        else:
            kind, content = f"{os.stat(absolute).st_mode & 0o777:o}", _file_digest(absolute)
        total.update(f"{path}\0{kind}\0{content}\0".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _files(context: str, ignore: Ignore) -> Iterator[str]:
    for folder, folders, files in os.walk(context):
        base = os.path.relpath(folder, context)
        start = "" if base == "." else f"{base}/"
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        folders[:] = [
            name
            for name in folders
            if name not in links and (ignore.has_exceptions or not ignore.ignores(start + name))
        ]
        for name in files + links:
            if not ignore.ignores(start + name):
                yield start + name


def _file_digest(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _pattern(line: str) -> Optional[_Pattern]:
    text = line.strip()
    if not text or line.startswith("#"):
        return None
    negated = text.startswith("!")
    if negated:
        text = text[1:].strip()
    text = os.path.normpath(text).lstrip("/") if text else ""
    if text in ("", "."):
        return None
    return _Pattern(re.compile(_regex(text)), negated)


def _regex(pattern: str) -> str:
    out = ""
    position = 0
    while position < len(pattern):
        char = pattern[position]
        position += 1
        if char == "*" and pattern[position : position + 1] == "*":
            position += 1
            if pattern[position : position + 1] == "/":
                position += 1
            out += ".*" if position >= len(pattern) else "(.*/)?"
        elif char == "*":
            out += "[^/]*"
        elif char == "?":
            out += "[^/]"
        elif char == "\\" and position < len(pattern):
            out += re.escape(pattern[position])
            position += 1
        elif char == "[" and (end := pattern.find("]", position + 1)) > 0:
            body = pattern[position:end].replace("\\", "\\\\")
            out += f"[{body}]"
            position = end + 1
        else:
            out += re.escape(char)
    return out + r"\Z"
