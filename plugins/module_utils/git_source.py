# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Fetching a git repository: one commit of it, ready to build.

The git directory lies beside the source tree and is removed at the end, so the build
context is what the commit holds and nothing else. To make layers alike between clones, every
file has the commit's time and one of git's two modes.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Callable, Optional

from . import git_url, git_version
from .errors import SourceError
from .git_checkout import Checkout, look_up
from .git_client import Git
from .source import GitRepo, SourceTree
from .source_layout import find_context, find_dockerfile
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

    Raises ``SourceError`` (the codes of ``check_out``, ``no_dockerfile``, ``workdir_missing``,
    ``path_outside_source``).
    """
    commit = check_out(repo, workspace, progress=progress)
    where = f"{repo.url} ({repo.version})"
    context = find_context(workspace, repo.workdir, where, "repository")
    dockerfile, warnings = find_dockerfile(workspace, repo.dockerfile, repo.workdir, where, "repository")
    return SourceTree(
        root=os.path.realpath(workspace.context),
        context=context,
        dockerfile=dockerfile,
        revision=commit.revision,
        committed_at=commit.committed_at,
        url=repo.url,
        warnings=(*commit.warnings, *warnings),
    )


@dataclass(frozen=True)
class Commit:
    """A commit that was checked out: its full name, its time in Unix seconds, sentences for the user."""

    revision: str
    committed_at: int
    warnings: tuple[str, ...]


def check_out(repo: GitRepo, workspace: Workspace, *, progress: Callable[[str], None]) -> Commit:
    """Put one commit of ``repo`` into ``workspace.context``, whatever it holds.

    Raises ``SourceError`` (codes ``git_unreachable``, ``git_unauthorized``, ``no_such_repository``,
    ``no_such_version``, ``disk_full``, ``git_missing``, ``ssh_host_key``, ``ssh_key_unusable``,
    ``certificate_not_trusted``, ``path_outside_source``, ``git_failed``).
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
    warnings = tuple(checkout.warnings)
    if git_url.credential_scope(repo.url) is None and (repo.username or repo.password):
        warnings = (*warnings, f"'username' and 'password' serve http and https only, not {repo.url}.")
    return Commit(commit, committed_at, warnings)


def _checked(repo: GitRepo) -> GitRepo:
    for check, value in ((git_url.check_url, repo.url), (git_version.check_version, repo.version)):
        try:
            check(value)
        except ValueError as error:
            raise SourceError(
                "git_failed", f"The source is refused: {error}.", hint="Correct the document."
            ) from None
    return repo


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
