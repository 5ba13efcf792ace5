# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A Dockerfile from an address, alone or with a build context from elsewhere.

The build behaves as if the Dockerfile lay in the context's root: relative paths start there, and
the context's ``.dockerignore`` (or ``Dockerfile.dockerignore``) is in effect. But it lies
outside, so that ``COPY .`` gives exactly what the context holds, a ``Dockerfile`` of its own included.
"""

from __future__ import annotations

import os
import shutil

from ..document.source import Folder, GitRepo, StandaloneDockerfile
from ..errors import SourceError
from ..listener import Listener
from .download import fetch_text, login_warning
from .git import repository as git_source
from .locate import find_context
from .tree import SourceTree
from .workspace import Workspace, unusable

#: BuildKit's own limit for a Dockerfile is smaller; this is one for what is read into memory.
LONGEST_DOCKERFILE = 4 << 20
_NAME = "Dockerfile"


def fetch(
    source: StandaloneDockerfile,
    workspace: Workspace,
    *,
    listener: Listener,
    lazy: bool = False,
    commit: str = "",
) -> SourceTree:
    """Put the Dockerfile beside ``workspace.context``, and its repository, if it has one, there.

    With ``lazy`` only where the commit is not known from an earlier run with this Dockerfile. A ``commit``
    of the repository is taken whatever its version means by now. A local
    folder is used where it is. Raises ``SourceError`` (the codes of ``download.opened`` and
    ``git_source.check_out``, ``checksum_mismatch``, ``source_too_large``, ``workdir_missing``,
    ``path_outside_source``, ``no_context``).
    """
    text, digest = fetch_text(source.file, LONGEST_DOCKERFILE, listener)
    dockerfile = os.path.join(workspace.directory("dockerfile"), _NAME)
    revision, committed_at, url = digest, 0, source.file.url
    warnings = login_warning(source.file)
    memory = ""
    if isinstance(source.context, GitRepo):
        repo = source.context
        found = git_source.found_before(repo, lazy=lazy, commit=commit, listener=listener)
        if found and lazy:
            name = git_source.memory(repo, found.commit, "dockerfile", digest)
            known = git_source.recall(repo, found, name, listener)
            if known:
                return known
        checked_out = git_source.check_out(repo, workspace, listener=listener, found=found)
        context = find_context(
            workspace, repo.workdir, f"{repo.url} ({repo.version})", "repository", "subdir"
        )
        revision, committed_at, url = checked_out.revision, checked_out.committed_at, repo.url
        warnings = (*warnings, *checked_out.warnings)
        memory = "" if warnings else git_source.memory(repo, checked_out.revision, "dockerfile", digest)
    else:
        context = _folder(source.context) if source.context else os.path.realpath(workspace.context)
    try:
        with open(dockerfile, "wb") as file:
            file.write(text)
        ignore = os.path.join(context, f"{_NAME}.dockerignore")
        if os.path.isfile(ignore) and not os.path.islink(ignore):
            shutil.copyfile(ignore, f"{dockerfile}.dockerignore")
    except OSError as error:
        raise unusable(workspace.path, error) from None
    return SourceTree(
        root=context,
        context=context,
        dockerfile=os.path.realpath(dockerfile),
        revision=revision,
        committed_at=committed_at,
        url=url,
        warnings=warnings,
        memory=memory,
    )


def _folder(folder: Folder) -> str:
    path = os.path.realpath(folder.path)
    if not os.path.isdir(path):
        raise SourceError(
            "no_context",
            f"There is no folder {folder.path}.",
            hint="Give a folder of the machine that builds as 'build_context.path'.",
        )
    return path
