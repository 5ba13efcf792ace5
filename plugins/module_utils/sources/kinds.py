# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The kinds of sources, and the one decision whether a source must be fetched at all.

A kind is a file of this room with the two functions of ``Kind``. A new one is such a file, a row of
``KINDS``, a dataclass in ``document/source.py``, its keys in ``document/argument_spec.py`` and a
checker in ``document/check_source.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Callable, Optional, Protocol

from ..document.source import Archive, GitRepo, Source, StandaloneDockerfile
from ..listener import Listener
from ..policy import PERMISSIVE, Policy
from . import memory
from .tree import Identity, SourceTree
from .workspace import Workspace


class Kind(Protocol):
    """What a kind of source can do; ``source`` is of the type that ``KINDS`` has it under."""

    def identify(self, source: Any, listener: Listener, policy: Policy) -> Optional[Identity]:
        """What can be known of the source before it is fetched, ``None`` where only fetching can tell.

        Asks with the document's credentials, also where it knows the answer: what is remembered of a
        source is for those who may read it. Raises ``SourceError``.
        """

    def fetch(
        self,
        source: Any,
        identity: Optional[Identity],
        workspace: Workspace,
        listener: Listener,
        policy: Policy,
    ) -> SourceTree:
        """Put the source into ``workspace.context``; with an ``identity`` that revision of it.

        Raises ``SourceError``.
        """


def _git() -> Kind:
    from .git import repository

    return repository


def _dockerfile() -> Kind:
    from . import standalone_dockerfile

    return standalone_dockerfile


def _archive() -> Kind:
    from .archive import tar

    return tar


#: How each kind is had: a request has one source, and imports no other kind.
KINDS: Mapping[type, Callable[[], Kind]] = {
    GitRepo: _git,
    StandaloneDockerfile: _dockerfile,
    Archive: _archive,
}


def fetch(
    source: Source,
    workspace: Workspace,
    listener: Listener,
    policy: Policy = PERMISSIVE,
    revision: str = "",
) -> SourceTree:
    """Fetch the source into ``workspace``; ``listener`` gets short plain lines.

    ``policy`` says to which addresses to connect, and how much to take. A ``revision`` that
    ``fetch_unless_known`` gave is taken, whatever the source's version means by now. Raises ``SourceError``.
    """
    identity = Identity(revision) if revision else None
    return KINDS[type(source)]().fetch(source, identity, workspace, listener, policy)


def fetch_unless_known(
    source: Source, workspace: Workspace, listener: Listener, policy: Policy = PERMISSIVE
) -> SourceTree:
    """As ``fetch``, but fetch nothing where an earlier run remembered all that a plan needs.

    What is fetched has a name to be remembered by, unless a warning goes with it, which would not be
    told again. Raises ``SourceError``.
    """
    kind = KINDS[type(source)]()
    identity = kind.identify(source, listener, policy)
    name = memory.key(*identity.made_of) if identity and identity.made_of else ""
    known = memory.recall(name) if name else None
    if identity and known:
        listener.line(f"{identity.name} is at {identity.revision[:12]}, as in an earlier run")
        return SourceTree(
            "", "", "", identity.revision, known.committed_at, identity.url, memory=name, known=known
        )
    tree = kind.fetch(source, identity, workspace, listener, policy)
    # Between the two questions somebody may have pushed.
    remembered = identity and tree.revision == identity.revision and not tree.warnings
    return replace(tree, memory=name if remembered else "")
