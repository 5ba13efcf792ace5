# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A Dockerfile from an address, alone or with a build context from elsewhere.

The build behaves as if the Dockerfile lay in the context's root: relative paths start there, and
the context's ``.dockerignore`` (or ``Dockerfile.dockerignore``) is in effect. But it lies
outside, so that ``COPY .`` gives exactly what the context holds, a ``Dockerfile`` of its own included.
"""

from __future__ import annotations

import os
from typing import Optional

from ..document.source import Folder, GitRepo, StandaloneDockerfile
from ..errors import SourceError
from ..listener import Listener
from ..policy import Policy
from .dockerignore import find_ignore
from .download import fetch_text, login_warning
from .git.commit import check_out, resolve
from .locate import find_context
from .tree import Identity, SourceTree
from .workspace import Workspace, unusable

#: BuildKit's own limit for a Dockerfile is smaller; this is one for what is read into memory.
LONGEST_DOCKERFILE = 4 << 20
_NAME = "Dockerfile"


def identify(source: StandaloneDockerfile, listener: Listener, policy: Policy) -> Optional[Identity]:
    """The commit of the build context with the Dockerfile's digest, or the digest where there is no commit.

    ``None`` where only the history of the context's repository can tell. Raises ``SourceError`` as
    ``fetch`` does.
    """
    repo = source.context
    if not isinstance(repo, GitRepo):
        text, digest = fetch_text(source.file, LONGEST_DOCKERFILE, listener, policy.reach)
        return Identity(digest, url=source.file.shown, name=source.file.shown, text=text)
    found = resolve(repo, listener, policy)
    if found is None:
        return None
    text, digest = fetch_text(source.file, LONGEST_DOCKERFILE, listener, policy.reach)
    return Identity(
        found.commit,
        want=found.want,
        url=repo.url,
        name=f"{repo.url} ({repo.version})",
        made_of=(repo.url, found.commit, repo.workdir, "dockerfile", digest),
        text=text,
    )


def fetch(
    source: StandaloneDockerfile,
    identity: Optional[Identity],
    workspace: Workspace,
    listener: Listener,
    policy: Policy,
) -> SourceTree:
    """Put the Dockerfile beside ``workspace.context``, and its repository, if it has one, there.

    A local folder is used where it is. Raises ``SourceError`` (the codes of ``download.opened`` and
    ``commit.check_out``, ``checksum_mismatch``, ``source_too_large``, ``workdir_missing``,
    ``path_outside_source``, ``no_context``).
    """
    if identity and identity.text is not None:
        text, revision = identity.text, identity.revision
    else:
        text, revision = fetch_text(source.file, LONGEST_DOCKERFILE, listener, policy.reach)
    committed_at, url = 0, source.file.shown
    warnings = login_warning(source.file)
    if isinstance(source.context, GitRepo):
        repo = source.context
        commit = check_out(repo, identity, workspace, listener, policy)
        context = find_context(
            workspace, repo.workdir, f"{repo.url} ({repo.version})", "repository", "subdir"
        )
        revision, committed_at, url = commit.revision, commit.committed_at, repo.url
        warnings = (*warnings, *commit.warnings)
    else:
        context = _folder(source.context) if source.context else os.path.realpath(workspace.context)
    root = os.path.realpath(workspace.context) if isinstance(source.context, GitRepo) else context
    return SourceTree(
        root=context,
        context=context,
        dockerfile=_write(text, workspace),
        dockerignore=find_ignore(root, context, os.path.join(context, _NAME)),
        revision=revision,
        committed_at=committed_at,
        url=url,
        warnings=warnings,
    )


def _write(text: bytes, workspace: Workspace) -> str:
    """Write the Dockerfile; gives its path."""
    dockerfile = os.path.join(workspace.directory("dockerfile"), _NAME)
    try:
        with open(dockerfile, "wb") as file:
            file.write(text)
    except OSError as error:
        raise unusable(workspace.path, error) from None
    return os.path.realpath(dockerfile)


def _folder(folder: Folder) -> str:
    path = os.path.realpath(folder.path)
    if not os.path.isdir(path):
        raise SourceError(
            "no_context",
            f"There is no folder {folder.path}.",
            hint="Give a folder of the machine that builds as 'build_context.path'.",
        )
    return path
