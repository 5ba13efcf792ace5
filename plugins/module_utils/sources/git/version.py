# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Versions of a git repository: from what a person writes to a reference and a commit."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from ...errors import SourceError

# Source: git-check-ref-format(1).
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\A[-/]|[/.]\Z|\.lock\Z|\.lock/|/\.|\A\.|\A@\Z")
_COMMIT = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
# git's own shortest abbreviation (MINIMUM_ABBREV).
_ABBREVIATED = re.compile(r"[0-9a-f]{4,63}\Z")
_LISTED = 5


@dataclass(frozen=True)
class Found:
    """A version that was found: what to ask the server for (a reference or the commit), and the commit."""

    want: str
    commit: str


def check_version(version: str) -> None:
    """Accept a version, or raise ``ValueError`` with one sentence."""
    if not version or _FORBIDDEN.search(version):
        raise ValueError(f"{version!r} is not a branch, a tag, HEAD, a reference (refs/...) or a commit")


def full_commit(version: str) -> Optional[str]:
    """``version`` in lower case where it is a full commit (SHA-1 or SHA-256)."""
    return version.lower() if _COMMIT.match(version.lower()) else None


def is_abbreviated(version: str) -> bool:
    """Whether ``version`` can be an abbreviated commit."""
    return bool(_ABBREVIATED.match(version.lower())) and not full_commit(version)


def listing_options(version: str) -> tuple[str, ...]:
    """Options and patterns of ``git ls-remote`` that keep references out which ``version`` cannot mean.

    Servers keep one reference for each pull request, so the full list can be megabytes.
    """
    full_list = version == "HEAD" or version.startswith(("refs/", "heads/", "tags/", "pull/"))
    if is_abbreviated(version):
        # It may be where no branch stands: a repository with a working tree, at a commit by itself.
        return ("HEAD", "refs/heads/*", "refs/tags/*")
    return () if full_list else ("--heads", "--tags")


def parse_listing(text: str) -> dict[str, str]:
    """The output of ``git ls-remote`` as references and commits; annotated tags count as what they tag."""
    references: dict[str, str] = {}
    for line in text.splitlines():
        commit, _, name = line.partition("\t")
        references[name.removesuffix("^{}")] = commit
    return references


def find(references: Mapping[str, str], version: str, url: str) -> Optional[Found]:
    """What ``version`` means among ``references`` (name to commit); ``None`` where it is not there.

    A branch goes before a tag of the same name, as for ``git clone --branch`` and for BuildKit; names go
    before abbreviated commits. Raises ``SourceError`` ``no_such_version`` where an
    abbreviation fits several commits.
    """
    commit = full_commit(version)
    if commit:
        return Found(commit, commit)
    for name in _meanings(version):
        if name in references:
            return Found(name, references[name])
    if not is_abbreviated(version):
        return None
    named = {commit: name for name, commit in references.items() if commit.startswith(version.lower())}
    if len(named) > 1:
        raise ambiguous(version, named, url)
    return next((Found(name, commit) for commit, name in named.items()), None)


def same_name(references: Mapping[str, str], version: str) -> str:
    """A warning where ``version`` is a branch and a tag, at other commits; else nothing."""
    branch, tag = f"refs/heads/{version}", f"refs/tags/{version}"
    found = next((name for name in _meanings(version) if name in references), "")
    if found != branch or references.get(tag, references[branch]) == references[branch]:
        return ""
    return f"{version} is a branch and a tag; the branch is used. Write {tag} for the tag."


def _meanings(version: str) -> tuple[str, ...]:
    """The full names that ``version`` can stand for, the first that is there counts (see gitrevisions(7))."""
    names = (version, f"refs/{version}", f"refs/heads/{version}", f"refs/tags/{version}")
    return tuple(name for name in names if name == "HEAD" or name.startswith("refs/"))


def ambiguous(version: str, commits: Mapping[str, str], url: str) -> SourceError:
    """The error for an abbreviation of several ``commits`` (each with a word about it, or an empty one)."""
    listed = [f"{commit} ({word})" if word else commit for commit, word in sorted(commits.items())]
    more = "" if len(listed) <= _LISTED else f" and {len(listed) - _LISTED} more"
    return SourceError(
        "no_such_version",
        f"The commit {version} of {url} is ambiguous: {', '.join(listed[:_LISTED])}{more}.",
        hint="Write more of the commit as 'version'.",
    )


def unknown(references: Mapping[str, str], version: str, url: str) -> SourceError:
    """The error for a version that is not there; it names what is, nearest first."""
    names = [_short(name) for name in references if name.startswith(("refs/heads/", "refs/tags/"))]
    if not names:
        return SourceError(
            "no_such_version", f"The repository {url} is empty.", hint="Push a branch to it, then try again."
        )
    if version == "HEAD":
        message = f"The repository {url} has no HEAD: its default branch does not exist."
    else:
        message = f"The repository {url} has no branch, tag or commit {version!r}."
    near = difflib.get_close_matches(version, names, n=_LISTED, cutoff=0.6)
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    else:
        more = "" if len(names) <= _LISTED else f" and {len(names) - _LISTED} more"
        hint = f"It has {', '.join(names[:_LISTED])}{more}."
    return SourceError("no_such_version", message, hint=hint)


def _short(name: str) -> str:
    return name.removeprefix("refs/heads/").removeprefix("refs/tags/")
