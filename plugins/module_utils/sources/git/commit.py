# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One commit of a git repository: what a version means, and the files that it holds.

The git directory lies beside the source tree and is removed at the end, so the tree is what the
commit holds and nothing else. To make layers alike between clones, every file has the commit's
time and one of git's two modes.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from typing import Optional

from ...document.source import GitRepo
from ...errors import SourceError
from ...listener import Listener
from ...network import git_url
from ...policy import Policy
from ..tree import Identity
from ..workspace import Workspace, remove_tree, unusable
from .client import Git
from .look_up import look_up
from .masked import Masked
from .version import Found, check_version, full_commit, listing_options

_LATEST_TIME = 253402300799  # the year 9999; a commit can claim any


def resolve(repo: GitRepo, listener: Listener, policy: Policy) -> Optional[Found]:
    """What ``repo.version`` means on the server now, asked with the document's credentials only.

    ``None`` for an abbreviated commit that no branch or tag stands at: only ``check_out``
    can tell. Raises ``SourceError``.
    """
    told = Masked(repo, listener)
    with told.errors():
        git, what = Git(_checked(repo), told, policy), f"the repository {repo.url}"
        found = look_up(git, repo.url, repo.version, what)
        if full_commit(repo.version):
            # Nobody was asked for it, but what is known of it is for those who may read the repository.
            git.list_references(repo.url, listing_options(repo.version), what)
        return found


@dataclass(frozen=True)
class Commit:
    """A commit that was checked out: its full name, its time in Unix seconds, sentences for the user."""

    revision: str
    committed_at: int
    warnings: tuple[str, ...]


def check_out(
    repo: GitRepo,
    identity: Optional[Identity],
    workspace: Workspace,
    listener: Listener,
    policy: Policy,
) -> Commit:
    """Put one commit of ``repo`` into ``workspace.context``, whatever it holds.

    ``identity`` tells which, if the server was asked before. Raises ``SourceError`` (codes
    ``git_unreachable``, ``git_unauthorized``, ``no_such_repository``, ``no_such_version``, ``disk_full``,
    ``git_missing``, ``ssh_host_key``, ``ssh_key_unusable``, ``certificate_not_trusted``,
    ``path_outside_source``, ``address_forbidden``, ``git_failed``).
    """
    told = Masked(repo, listener)
    with told.errors():
        commit = _checked_out(repo, identity, workspace, told, policy)
    return replace(commit, warnings=tuple(map(told.text, commit.warnings)))


def _checked_out(
    repo: GitRepo, identity: Optional[Identity], workspace: Workspace, listener: Listener, policy: Policy
) -> Commit:
    # Nor this, nor what it takes, where nothing is fetched.
    from .checkout import Checkout

    git = Git(_checked(repo), listener, policy, workspace.path)
    listener.line(f"fetching {repo.url} ({repo.version})")
    found = Found(identity.want or identity.revision, identity.revision) if identity else None
    checkout = Checkout(git, workspace, listener)
    try:
        commit, committed_at = checkout.fetch(repo.url, repo.version, workspace.context, found=found)
        committed_at = min(committed_at, _LATEST_TIME)
        _make_uniform(workspace.context, committed_at)
    except OSError as error:
        raise unusable(workspace.path, error) from None
    finally:
        remove_tree(checkout.git_dirs)
    moment = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(committed_at))
    listener.line(f"at {commit[:12]} of {moment}")
    warnings = tuple(checkout.warnings)
    if git_url.credential_scope(repo.url) is None and (repo.username or repo.password):
        warnings = (*warnings, f"'username' and 'password' serve http and https only, not {repo.url}.")
    return Commit(commit, committed_at, warnings)


def _checked(repo: GitRepo) -> GitRepo:
    for check, value in ((git_url.check_url, repo.url), (check_version, repo.version)):
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
