# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What ADD fetches from an address, and that may be something else the next time.

Rules: the Dockerfile reference, "ADD", and BuildKit's ``dispatchCopy`` and ``ParseGitRef``: an http or https
address, or that of a git repository. What a checksum or a full commit names is always the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Optional

from .instructions import Dockerfile
from .shell import Budget, ExpansionError, expand
from .stages import Resolution, UsedStage
from .statements import Add, Assignment, Statement

_WEB = ("http://", "https://")
_GIT = re.compile(r"(git|ssh)://|[A-Za-z0-9_.~-]+@[A-Za-z0-9.-]+:")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?\Z")
# What an inherited statement takes off the budget.
_STATEMENT_STEPS = 256
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")


@dataclass(frozen=True)
class Remote:
    """What an ADD on ``line`` fetches: the file at ``url``, or ``version`` of the git repository there.

    ``url`` is empty where it cannot be known before the build, or where nobody but BuildKit can ask.
    """

    line: int
    url: str = ""
    version: str = ""


def remote_adds(
    dockerfile: Dockerfile,
    resolution: Resolution,
    environments: Mapping[int, Mapping[str, str]],
    build_args: Mapping[str, str],
) -> list[Remote]:
    """What the stages in use fetch that can change though nothing in the source does.

    ``environments`` are the variables of the images that stages, by their indices, start from.
    """
    if not may_fetch(resolution):
        return []
    budget = Budget()
    scopes: dict[int, _Scope] = {}
    found: dict[Remote, None] = {}
    for used in resolution.stages:
        scope = scopes[used.stage.index] = (
            _Scope(dict(environments.get(used.stage.index, {})), budget)
            if used.parent is None
            else scopes[used.parent].copy()
        )
        for each in _in_force(dockerfile, used, budget):
            if each is None:
                scope.opaque = True
                found[Remote(used.stage.line)] = None
            elif isinstance(each, Assignment):
                scope.assign(each, resolution.variables, build_args)
            elif not any(scope.expanded(checksum, each.escape) for checksum in each.checksums):
                words = [scope.expanded(word, each.escape) for word in each.sources]
                remotes = (_remote(word, each.line) for word in words)
                found.update(dict.fromkeys(remote for remote in remotes if remote))
    return list(found)


def may_fetch(resolution: Resolution) -> bool:
    """Whether a stage in use has an ADD whose source is an address, or has variables."""
    return any(
        _may_be_remote(each)
        for used in resolution.stages
        for listed in (used.triggers.statements, used.stage.statements, used.stage.onbuild_statements)
        for each in listed
    )


def _in_force(dockerfile: Dockerfile, used: UsedStage, budget: Budget) -> Iterator[Optional[Statement]]:
    """The statements that act in a stage, in their order; ``None`` for more than can be looked at."""
    yield from used.triggers.statements
    inherited = () if used.parent is None else dockerfile.stages[used.parent].onbuild_statements
    try:
        if inherited:
            budget.spend(_STATEMENT_STEPS * len(inherited))
        yield from inherited
    except ExpansionError:
        yield None
    yield from used.stage.statements


def _may_be_remote(statement: Statement) -> bool:
    return isinstance(statement, Add) and any(
        "$" in word or _is_remote(word.strip("'\"")) for word in statement.sources
    )


def _is_remote(word: str) -> bool:
    return word.startswith(_WEB) or bool(_GIT.match(word))


def _remote(word: Optional[str], line: int) -> Optional[Remote]:
    """What the source ``word`` is, if it is remote and may change; ``None`` stands for an unknown one."""
    if word is None:
        return Remote(line)
    if not _is_remote(word):
        return None
    address, _, fragment = word.partition("#")
    path = address.partition("?")[0]
    if word.startswith(_WEB) and not path.endswith(".git"):
        # Releases differ in whether this is a repository.
        return Remote(line) if address.endswith(".git") else Remote(line, address)
    version = fragment.partition(":")[0]
    if _COMMIT.match(version) and address == path:
        return None
    # A repository by ssh is asked with a key, and newer releases take a version behind a question mark.
    known = address == path and address.startswith((*_WEB, "git://"))
    return Remote(line, address, version or "HEAD") if known else Remote(line)


@dataclass
class _Scope:
    """The variables at one place of a stage: their ``values``, and which of them are ``unknown``."""

    values: dict[str, str]
    budget: Budget
    unknown: set[str] = field(default_factory=set)
    arguments: set[str] = field(default_factory=set)
    opaque: bool = False

    def copy(self) -> _Scope:
        """The scope of a stage that starts from the one that ends here."""
        try:
            self.budget.spend(len(self.values))
        except ExpansionError:
            return _Scope({}, self.budget, opaque=True)
        return _Scope(dict(self.values), self.budget, set(self.unknown), set(self.arguments), self.opaque)

    def expanded(self, word: str, escape: str) -> Optional[str]:
        """``word`` with its variables replaced; ``None`` where it is not known what that gives."""
        names = _VARIABLE.findall(word)
        if "$" in word and (self.opaque or not self.unknown.isdisjoint(names)):
            return None
        try:
            return expand(word, self.values, escape, self.budget)
        except ExpansionError:
            return None

    def assign(self, assignment: Assignment, given: Mapping[str, str], build_args: Mapping[str, str]) -> None:
        """Do what ``assignment`` does; ``given`` are the variables outside of stages."""
        escape = assignment.escape
        pairs = [
            (self.expanded(name, escape), None if value is None else (value, self.expanded(value, escape)))
            for name, value in assignment.names
        ]
        for name, value in pairs:
            if name is None:
                self.opaque = True
            elif not assignment.is_argument:
                self._set(name, value[1] if value else "")
                self.arguments.discard(name)
            elif name in self.values and name not in self.arguments:
                # An ENV before the ARG: older releases keep its value, newer ones do not.
                self._set(name, None)
            elif name in build_args or value or name in given:
                own = value[1] if value else given.get(name)
                self._set(name, build_args.get(name, own))
                self.arguments.add(name)

    def _set(self, name: str, value: Optional[str]) -> None:
        self.values[name] = value or ""
        (self.unknown.add if value is None else self.unknown.discard)(name)
