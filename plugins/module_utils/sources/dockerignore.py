# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which files of a build context reach BuildKit.

It stays ours because the package docker reads ``**.md``, ``[^a]``, ``**/name`` and backslashes otherwise
than BuildKit, so that a digest of what it lets through would not tell whether a build changed.

Rules: the Docker documentation of ``.dockerignore`` and the pattern matcher of the Moby
project (``patternmatcher``): the last pattern that matches decides, ``!`` brings back, a
pattern that matches a folder matches what is in it, ``**`` matches any number of folders.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Optional

#: For each pattern whether a path matched it.
Matched = tuple[bool, ...]
_TOKEN = re.compile(r"\*\*/?|\[\^?(?:\\.|[^\\\]])+\]|\\.|.", re.DOTALL)


@dataclass(frozen=True)
class _Pattern:
    regex: re.Pattern[str]
    negated: bool


class Ignore:
    """The patterns of one ``.dockerignore`` file; without patterns nothing is ignored."""

    def __init__(self, text: str = "") -> None:
        self._patterns = [pattern for line in text.split("\n") if (pattern := _pattern(line))]

    def ignores(self, path: str) -> bool:
        """Whether the file or folder ``path`` (relative, ``/`` between names) stays behind."""
        ignored, matched = False, self.none
        for end in [n for n, char in enumerate(path) if char == "/"] + [len(path)]:
            ignored, matched = self.step(path[:end], matched)
        return ignored

    @property
    def none(self) -> Matched:
        """What the top of a build context has matched."""
        return (False,) * len(self._patterns)

    def step(self, path: str, above: Matched) -> tuple[bool, Matched]:
        """Whether ``path`` stays behind, and which patterns it matched; ``above`` are those of its folder.

        As in Moby, a pattern that could not change the answer counts as one that did not match.
        """
        ignored, matched = False, []
        for pattern, matches in zip(self._patterns, above):
            if not matches and pattern.negated == ignored:
                matches = bool(pattern.regex.match(path))
            if matches:
                ignored = not pattern.negated
            matched.append(matches)
        return ignored, tuple(matched)

    @property
    def has_exceptions(self) -> bool:
        """Whether a file inside an ignored folder can come back."""
        return any(pattern.negated for pattern in self._patterns)


def read_ignore(context: str, dockerfile: str) -> Ignore:
    """The patterns in effect: ``<Dockerfile>.dockerignore`` beside it, else the context's own."""
    for path in (f"{dockerfile}.dockerignore", os.path.join(context, ".dockerignore")):
        if os.path.isfile(path) and not os.path.islink(path):
            with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                return Ignore(file.read())
    return Ignore()


def _pattern(line: str) -> Optional[_Pattern]:
    text = line.strip()
    if not text or line.startswith("#"):
        return None
    mark, text = ("!", text[1:].strip()) if text.startswith("!") else ("", text)
    text = mark + (os.path.normpath(text).lstrip("/") if text else "")
    negated = text.startswith("!")  # so does what was written ./!name
    text = text.removeprefix("!")
    if text in ("", "."):
        return None
    try:
        return _Pattern(re.compile(_regex(text)), negated)
    except re.error:
        return None  # BuildKit refuses to build with it


def _regex(pattern: str) -> str:
    if re.match(r"\*\*[^*?\\\[\]/][^*?\\\[\]]*\Z", pattern):
        return ".*" + re.escape(pattern[2:]) + r"\Z"  # Moby's rule for **name alone; **name* is another
    out = ""
    for match in _TOKEN.finditer(pattern):
        token = match.group()
        if token in ("**", "**/"):
            out += ".*" if match.end() == len(pattern) else "(.*/)?"
        elif token == "*":
            out += "[^/]*"
        elif token == "?":
            out += "[^/]"
        elif len(token) > 2 and token.startswith("["):
            out += _class(token)
        else:
            out += re.escape(token.removeprefix("\\") or token)
    return out + r"\Z"


def _class(token: str) -> str:
    """A character class as Python's, in which only ``^`` at the start, ``-`` and ``\\`` mean something."""
    negation = "^" if token[1] == "^" else ""
    characters = re.findall(r"\\.|.", token[1 + len(negation) : -1], re.DOTALL)
    return f"[{negation}{''.join(c if c == '-' else re.escape(c[-1]) for c in characters)}]"
