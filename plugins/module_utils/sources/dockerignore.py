# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which files of a build context reach BuildKit.

It stays ours because the package docker reads ``**.md``, ``[^a]``, ``**/name`` and backslashes otherwise
than BuildKit, so that a digest of what it lets through would not tell whether a build changed.

Rules: the Docker documentation of ``.dockerignore``, and ``ignorefile.go`` and ``patternmatcher.go`` of
github.com/moby/patternmatcher 0.6: the last pattern that matches decides, ``!`` brings back, a pattern that
matches a folder matches what is in it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Optional

from ..errors import SourceError
from .dockerignore_pattern import Pattern
from .go_expression import BadPattern

#: For each pattern whether a path matched it.
Matched = tuple[bool, ...]
#: BuildKit gives up on longer lines; the whole file is read into memory here and there.
LONGEST_LINE = (64 << 10) - 1
LONGEST_FILE = 4 << 20
# What Go's strings.TrimSpace takes away. Python's strip takes more.
_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


@dataclass(frozen=True)
class _Rule:
    pattern: Pattern
    negated: bool
    line: int


class Ignore:
    """The patterns of one ``.dockerignore`` file; without patterns nothing is ignored.

    ``name`` is the file's in errors. Raises ``SourceError`` ``dockerignore_invalid`` for what BuildKit
    refuses, as do the methods that look at a pattern for the first time.
    """

    def __init__(self, text: str = "", name: str = ".dockerignore") -> None:
        self.text = text
        self._name = name
        self._rules: list[_Rule] = []
        for number, line in enumerate(text.removeprefix("\N{BOM}").split("\n"), 1):
            if len(line.encode("utf-8", "surrogateescape")) > LONGEST_LINE:
                raise self._invalid(number, f"is longer than {LONGEST_LINE} bytes")
            cleaned = _cleaned(line)
            if cleaned == "!":
                raise self._invalid(number, "brings back nothing")
            if cleaned:
                try:
                    negated = cleaned.startswith("!")
                    self._rules.append(_Rule(Pattern(cleaned[negated:]), negated, number))
                except BadPattern as error:
                    raise self._invalid(number, f"is no pattern: {error}") from None

    def ignores(self, path: str) -> bool:
        """Whether the file or folder ``path`` (relative, ``/`` between names) stays behind."""
        ignored, matched = False, self.none
        for end in [n for n, char in enumerate(path) if char == "/"] + [len(path)]:
            ignored, matched = self.step(path[:end], matched)
        return ignored

    @property
    def none(self) -> Matched:
        """What the top of a build context has matched."""
        return (False,) * len(self._rules)

    def step(self, path: str, above: Matched) -> tuple[bool, Matched]:
        """Whether ``path`` stays behind, and which patterns it matched; ``above`` are those of its folder.

        As in Moby, a pattern that could not change the answer counts as one that did not match.
        """
        ignored, matched = False, []
        for rule, matches in zip(self._rules, above):
            if not matches and rule.negated == ignored:
                try:
                    matches = rule.pattern.matches(path)
                except BadPattern as error:
                    raise self._invalid(rule.line, f"is no pattern: {error}") from None
            if matches:
                ignored = not rule.negated
            matched.append(matches)
        return ignored, tuple(matched)

    def may_bring_back(self, folder: str) -> bool:
        """Whether something inside an ignored ``folder`` can come back."""
        return any(
            rule.pattern.kind != "exact" or rule.pattern.text.startswith(f"{folder}/")
            for rule in self._rules
            if rule.negated
        )

    def _invalid(self, line: int, what: str) -> SourceError:
        return SourceError(
            "dockerignore_invalid",
            f"{self._name}:{line} {what}.",
            hint="Mend the line, or take it out.",
        )


def find_ignore(root: str, context: str, dockerfile: str) -> str:
    """The path of the patterns in effect: ``<Dockerfile>.dockerignore`` beside it, else the context's own.

    Empty where there are none. ``dockerfile`` is its path as named: what lies beside a link counts, as for
    buildx. Either file may be a link, as long as it stays in the tree at ``root``: buildx passes over other
    links, but then what is meant to stay out is pushed. Raises ``SourceError`` ``dockerignore_invalid``.
    """
    top = os.path.join(os.path.realpath(root), "")
    for path in (f"{dockerfile}.dockerignore", os.path.join(context, ".dockerignore")):
        found = os.path.realpath(path)
        if os.path.islink(path) and not found.startswith(top):
            raise _unreadable(path, "is a link that leads out of the source")
        if os.path.islink(path) and not os.path.exists(found):
            raise _unreadable(path, "is a link that leads nowhere")
        if os.path.isfile(found):
            return path
    return ""


def read_ignore(path: str) -> Ignore:
    """The patterns that ``find_ignore`` found at ``path``.

    Raises ``OSError``, and ``SourceError`` ``dockerignore_invalid``.
    """
    if not path:
        return Ignore()
    with open(path, "rb") as file:
        content = file.read(LONGEST_FILE + 1)
    if len(content) > LONGEST_FILE:
        raise _unreadable(path, f"is larger than {LONGEST_FILE >> 20} MiB")
    return Ignore(content.decode("utf-8", "surrogateescape"), os.path.basename(path))


def _unreadable(path: str, what: str) -> SourceError:
    return SourceError(
        "dockerignore_invalid",
        f"{os.path.basename(path)} {what}, so that nobody can tell what must stay out of the build.",
        hint="Make it a file, or a link to a file of the source.",
    )


def _cleaned(line: str) -> Optional[str]:
    """The pattern that a line holds, cleaned as Moby does it twice over, if it holds one."""
    if line.startswith("#"):
        return None
    text = line.strip(_SPACE)
    if not text:
        return None
    mark, text = ("!", text[1:].strip(_SPACE)) if text.startswith("!") else ("", text)
    if text:
        text = _clean_path(text)
        text = text[1:] if len(text) > 1 and text.startswith("/") else text
    # What was written ./!name is an exception by now, and is cleaned as one.
    return _clean_path((mark + text).strip(_SPACE))


def _clean_path(path: str) -> str:
    """The path as Go's ``filepath.Clean`` gives it: unlike here, two slashes at the start are one."""
    cleaned = os.path.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned
