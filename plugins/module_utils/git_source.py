# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Fetching a git repository: one commit of it, ready to build.

The git directory lies beside the source tree and is removed at the end, so the build
context is what the commit holds and nothing else. To make layers alike between clones, every
file has the commit's time and one of git's two modes.
"""

from __future__ import annotations

import os
import time
from typing import Callable, Optional

from . import git_url, git_version
from .errors import SourceError
from .git_checkout import Checkout, look_up
from .git_client import Git
from .source import GitRepo, SourceTree
from .workspace import Workspace, remove_tree, unusable

_LATEST_TIME = 253402300799  # the year 9999; a commit can claim any


def resolve(repo: GitRepo, *, progress: Callable[[str], None] = lambda line: None) -> Optional[str]:
    """The full commit that ``repo.version`` means now, without fetching anything.

    ``None`` for an abbreviated commit that no branch or tag stands at: only ``fetch`` can
    tell. A full commit is returned as it is. Raises ``SourceError``.
    """
    found = look_up(Git(_checked(repo), progress), repo.url, repo.version, f"the repository {repo.url}")
    return found.commit if found else None


def fetch(repo: GitRepo, workspace: Workspace, *, progress: Callable[[str], None]) -> SourceTree:
    """Put one commit of ``repo`` into ``workspace.context``; ``progress`` gets short plain lines.

    Raises ``SourceError`` (codes ``git_unreachable``, ``git_unauthorized``, ``no_such_repository``,
    ``no_such_version``, ``no_dockerfile``, ``workdir_missing``, ``path_outside_source``, ``disk_full``,
    ``git_missing``, ``ssh_host_key``, ``ssh_key_unusable``, ``certificate_not_trusted``, ``git_failed``).
    """
    git = Git(_checked(repo), progress)
    progress(f"fetching {repo.url} ({repo.version})")
    checkout = Checkout(git, workspace.directory("git"), progress)
    try:
        commit, committed_at = checkout.fetch(repo.url, repo.version, workspace.context)
        committed_at = min(committed_at, _LATEST_TIME)
        _make_uniform(workspace.context, committed_at)
    except OSError as error:
        raise unusable(workspace.path, error) from None
    finally:
        remove_tree(checkout.git_dirs)
    moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(committed_at))
    progress(f"at {commit[:12]} of {moment}")
    context, dockerfile, warnings = _locate(repo, workspace)
    if git_url.credential_scope(repo.url) is None and (repo.username or repo.password):
        warnings = (*warnings, f"'username' and 'password' serve http and https only, not {repo.url}.")
    return SourceTree(
        root=os.path.realpath(workspace.context),
        context=context,
        dockerfile=dockerfile,
        revision=commit,
        committed_at=committed_at,
        url=repo.url,
        warnings=(*checkout.warnings, *warnings),
    )


def _checked(repo: GitRepo) -> GitRepo:
    for check, value in ((git_url.check_url, repo.url), (git_version.check_version, repo.version)):
        try:
            check(value)
        except ValueError as error:
            raise SourceError(
                "git_failed", f"The source is refused: {error}.", hint="Correct the document."
            ) from None
    return repo


def _locate(repo: GitRepo, workspace: Workspace) -> tuple[str, str, tuple[str, ...]]:
    """The build context, the Dockerfile, and warnings.

    The Dockerfile is looked for from the repository's root, then from ``workdir``: documents
    have always named both from the root, but a ``workdir`` often brings its own ``Dockerfile``.
    """
    context = workspace.path_inside(repo.workdir, "workdir")
    if not os.path.isdir(context):
        raise SourceError(
            "workdir_missing",
            f"{repo.url} ({repo.version}) has no directory {repo.workdir!r}.",
            hint="Give 'workdir' relative to the repository's root.",
        )
    workspace.path_inside(repo.dockerfile, "dockerfile")
    places = [os.path.normpath(repo.dockerfile)]
    beside = os.path.normpath(os.path.join(repo.workdir, repo.dockerfile))
    if beside not in places:
        places.append(beside)
    found = {place: workspace.path_inside(place, "dockerfile") for place in places}
    files = [place for place, path in found.items() if os.path.isfile(path)]
    if not files:
        raise SourceError(
            "no_dockerfile",
            f"{repo.url} ({repo.version}) has no Dockerfile: looked for {' and '.join(places)}.",
            hint="Give its path from the repository's root as 'dockerfile'.",
        )
    warnings: tuple[str, ...] = ()
    if len(files) > 1 and found[files[0]] != found[files[1]]:
        warnings = (f"The repository has {files[0]} and {files[1]}; {files[0]} is used.",)
    return context, found[files[0]], warnings


def _make_uniform(root: str, seconds: int) -> None:
    """Give everything under ``root`` one time and git's modes, which the umask would change."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                os.chmod(path, 0o755 if os.stat(path).st_mode & 0o100 else 0o644)
            os.utime(path, (seconds, seconds), follow_symlinks=False)
        os.chmod(folder, 0o755)
        os.utime(folder, (seconds, seconds))
