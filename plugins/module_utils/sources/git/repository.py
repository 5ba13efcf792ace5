# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A git repository as a source: one commit of it, with the Dockerfile and the build context in it."""

from __future__ import annotations

import os
from typing import Optional

from ...document.source import GitRepo
from ...listener import Listener
from ...policy import Policy
from ..tree import Identity, SourceTree
from ..workspace import Workspace
from .commit import check_out, resolve


def identify(source: GitRepo, listener: Listener, policy: Policy) -> Optional[Identity]:
    """The commit that the version means now; ``None`` where only its history can tell.

    Raises ``SourceError`` as ``commit.resolve`` does.
    """
    found = resolve(source, listener, policy)
    if found is None:
        return None
    return Identity(
        found.commit,
        want=found.want,
        url=source.url,
        name=f"{source.url} ({source.version})",
        made_of=(source.url, found.commit, source.workdir, "git", source.dockerfile),
    )


def fetch(
    source: GitRepo,
    identity: Optional[Identity],
    workspace: Workspace,
    listener: Listener,
    policy: Policy,
) -> SourceTree:
    """Put one commit of the repository into ``workspace.context``.

    Raises ``SourceError`` (the codes of ``commit.check_out``, ``no_dockerfile``, ``workdir_missing``,
    ``path_outside_source``).
    """
    from ..locate import find_context, find_dockerfile

    commit = check_out(source, identity, workspace, listener, policy)
    where = f"{source.url} ({source.version})"
    context = find_context(workspace, source.workdir, where, "repository")
    found = find_dockerfile(workspace, source.dockerfile, source.workdir, where, "repository")
    return SourceTree(
        root=os.path.realpath(workspace.context),
        context=context,
        dockerfile=found.path,
        dockerignore=found.dockerignore,
        revision=commit.revision,
        committed_at=commit.committed_at,
        url=source.url,
        warnings=(*commit.warnings, *found.warnings),
    )
