# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Checking one commit out, with its submodules and the files that Git LFS keeps.

Submodules are fetched like the repository itself, and not by git-submodule(1): so no ``.git``
file reaches the tree, each is as shallow as the server allows, and one set of rules holds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Optional

from ...errors import SourceError
from ...listener import Listener
from ...network import git_url
from ..workspace import Workspace, remove_tree
from .client import Git, Place
from .large_files import Tree, check_address, pull_large_files, read_config
from .listing import Listing
from .look_up import look_up
from .messages import too_large
from .version import (
    Found,
    ambiguous,
    listing_options,
    parse_listing,
    unknown,
)

_DEEPEST_SUBMODULE = 10
_SOURCE = "refs/image-builder/source"
_EVERYTHING = ("+refs/heads/*:refs/image-builder/heads/*", "+refs/tags/*:refs/image-builder/tags/*")
# Also where a server has a part of the history only, which its branches then begin with.
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--update-shallow")
# An old or restricted server gives what it advertises only; a dumb one cannot cut history.
_REFUSES_COMMIT = (
    r"does not allow request for unadvertised object|want \S+ not valid|couldn't find remote ref"
)
_REFUSES_SHALLOW = r"does not support shallow"
_NO_COMMIT = r"not our ref"

# Pointers stay pointers at checkout, whatever filters the user has; git lfs pull replaces them.
_LFS_OFF = (("filter.lfs.process", ""), ("filter.lfs.smudge", ""), ("filter.lfs.required", "false"))


class Checkout:
    """One fetch with all its submodules: ``warnings`` grows, ``git_dirs`` holds the git directories."""

    def __init__(self, git: Git, workspace: Workspace, listener: Listener) -> None:
        self.git_dirs = workspace.directory("git")
        self.warnings: list[str] = []
        self._workspace = workspace.path
        self._submodules_left = git.limits.submodules
        self._listing: Optional[Listing] = None
        self._git = git
        self._listener = listener
        self._count = 0

    def fetch(
        self,
        url: str,
        version: str,
        work_tree: str,
        submodule: str = "",
        depth: int = 0,
        found: Optional[Found] = None,
    ) -> tuple[str, int]:
        """Check ``version`` of ``url`` out into ``work_tree``; returns the commit and its time.

        ``submodule`` is its path in the whole tree, empty for the repository itself. ``found`` is what
        ``look_up`` gave, if it was asked before.
        """
        what = f"the submodule {submodule} ({url})" if submodule else f"the repository {url}"
        found = found or look_up(self._git, url, version, what)
        if found is None:
            found = self._search(url, version, what)
        git_dir = self._init(found.commit, what)
        commit = self._transfer(git_dir, url, found, what)
        line = self._git.run(["rev-list", "--timestamp", "--max-count=1", commit], what, Place(git_dir))
        committed_at = max(int(line.split()[0]), 0)
        # What it takes is known before a file is written.
        listing = self._listing = Listing(what, self._git.limits, self._workspace, self._listing)
        self._git.run(
            ["ls-tree", "-r", "-t", "-z", "--long", "--full-tree", commit], what, Place(git_dir), listing.take
        )
        self._git.run(
            ["checkout", "--quiet", "--force", "--detach", commit],
            what,
            Place(git_dir, work_tree, _LFS_OFF),
        )
        tree = Tree(git_dir, work_tree, url, what)
        self._pull_large_files(git_dir, tree, listing.attributes)
        if listing.links:
            self._fetch_submodules(tree, listing.links, submodule, depth)
        return commit, committed_at

    def _pull_large_files(self, git_dir: str, tree: Tree, attributes: Sequence[str]) -> None:
        if warning := pull_large_files(self._git, tree, attributes, self._listener):
            self.warnings.append(warning)

    def _init(self, commit: str, what: str) -> str:
        self._count += 1
        git_dir = os.path.join(self.git_dirs, str(self._count))
        form = "sha256" if len(commit) == 64 else "sha1"
        self._git.run(
            ["init", "--quiet", "--bare", "--template=", f"--object-format={form}", "--", git_dir],
            what,
            Place(git_dir),
        )
        return git_dir

    def _transfer(self, git_dir: str, url: str, found: Found, what: str) -> str:
        """Fetch no more than the server makes us: one commit, else its history, else all branches."""
        depth: tuple[str, ...] = ("--depth=1",)
        wants: tuple[str, ...] = (f"+{found.want}:{_SOURCE}",)
        while True:
            result = self._git.ask(
                url,
                [*_FETCH, *depth, "--", url, *wants],
                what,
                Place(git_dir),
                expected=f"{_REFUSES_COMMIT}|{_REFUSES_SHALLOW}|{_NO_COMMIT}",
            )
            if result.status == 0:
                break
            if re.search(_REFUSES_SHALLOW, result.stderr) and depth:
                depth = ()
            elif re.search(_REFUSES_COMMIT, result.stderr) and wants != _EVERYTHING:
                self._listener.line("the server gives no single commits: fetching all branches and tags")
                wants, depth = _EVERYTHING, ()
            else:
                raise self._unknown(url, found.want, what)
        name = found.commit if wants == _EVERYTHING else _SOURCE
        try:
            verified = ["rev-parse", "--quiet", "--verify", f"{name}^{{commit}}"]
            return self._git.run(verified, what, Place(git_dir)).strip()
        except SourceError as error:
            if error.code != "git_failed":
                raise
            raise self._unknown(url, found.want, what) from None

    def _unknown(self, url: str, version: str, what: str) -> SourceError:
        listing = self._git.list_references(url, listing_options(version), what)
        return unknown(parse_listing(listing), version, url)

    def _search(self, url: str, version: str, what: str) -> Found:
        """Find an abbreviated commit in the history of all branches and tags, without their files."""
        self._listener.line(f"looking for the commit {version} in all branches and tags")
        git_dir = self._init(version, what)
        # A git that would fetch what is left out, object by object, is not told to leave anything out.
        without_files = ("--filter=tree:0",) if self._git.knows_no_lazy_fetch else ()
        self._git.ask(url, [*_FETCH, *without_files, "--", url, *_EVERYTHING], what, Place(git_dir))
        commits: dict[str, str] = {}
        begun = b""

        def take(chunk: bytes) -> None:
            nonlocal begun
            *lines, begun = (begun + chunk).split(b"\n")
            for line in lines:
                if line.startswith(prefix):
                    commits[line.decode("ascii")] = ""

        prefix = version.lower().encode("ascii")
        self._git.run(["rev-list", "--all"], what, Place(git_dir), take)
        remove_tree(git_dir)
        if len(commits) > 1:
            raise ambiguous(version, commits, url)
        if not commits:
            raise self._unknown(url, version, what)
        return Found(*commits, *commits)

    def _fetch_submodules(self, tree: Tree, links: dict[str, str], parent: str, depth: int) -> None:
        known = self._submodules(tree)
        for path, commit in links.items():
            name = f"{parent}/{path}" if parent else path
            address, update = known.get(path, ("", ""))
            if update == "none":
                continue
            if not address:
                self.warnings.append(
                    f"The submodule {name!r} has no address in .gitmodules; it is left empty."
                )
                continue
            if depth == _DEEPEST_SUBMODULE:
                raise SourceError(
                    "git_failed", f"The submodules of {self._git.repo.url} are nested too deeply."
                )
            try:
                address = git_url.join(tree.url, address)
            except ValueError as error:
                raise SourceError("git_failed", f"The submodule {name!r} is refused: {error}.") from None
            check_address(self._git, address, f"The address of the submodule {name!r}")
            self._submodules_left -= 1
            if self._submodules_left < 0:
                most = self._git.limits.submodules
                raise too_large(f"The repository {self._git.repo.url} has more than {most} submodules in all")
            target = os.path.join(tree.work_tree, path)
            # git leaves an empty directory there; anything else is a trick.
            if os.path.realpath(target) != os.path.join(os.path.realpath(tree.work_tree), path) or os.listdir(
                target
            ):
                raise SourceError(
                    "path_outside_source", f"The submodule {name!r} is not a folder of its own."
                )
            self._listener.line(f"fetching submodule {name!r} from {address}")
            self.fetch(address, commit, target, name, depth + 1)

    def _submodules(self, tree: Tree) -> dict[str, tuple[str, str]]:
        """What ``.gitmodules`` says: by path, the address and the way of updating."""
        sections: dict[str, dict[str, str]] = {}
        for name, value in read_config(self._git, tree, ".gitmodules"):
            section, _, key = name.rpartition(".")
            sections.setdefault(section, {})[key] = value
        return {
            keys["path"].rstrip("/"): (keys.get("url", ""), keys.get("update", ""))
            for keys in sections.values()
            if "path" in keys
        }
