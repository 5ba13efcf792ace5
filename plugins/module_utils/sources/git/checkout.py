# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Checking one commit out, with its submodules and the files that Git LFS keeps.

Submodules are fetched like the repository itself, and not by git-submodule(1): so no ``.git``
file reaches the tree, each is as shallow as the server allows, and one set of rules holds.
"""

from __future__ import annotations

import os
import re
from typing import Optional

from ...errors import SourceError
from ...listener import Listener
from ...network import git_url
from ..workspace import remove_tree
from .client import Git, Place
from .version import (
    Found,
    ambiguous,
    find,
    full_commit,
    is_abbreviated,
    listing_options,
    parse_listing,
    unknown,
)

_DEEPEST_SUBMODULE = 10
_SOURCE = "refs/image-builder/source"
_EVERYTHING = ("+refs/heads/*:refs/image-builder/heads/*", "+refs/tags/*:refs/image-builder/tags/*")
# An old or restricted server gives what it advertises only; a dumb one cannot cut history.
_REFUSES_COMMIT = (
    r"does not allow request for unadvertised object|want \S+ not valid|couldn't find remote ref"
)
_REFUSES_SHALLOW = r"does not support shallow"
_NO_COMMIT = r"not our ref"

_GITLINK = "160000"
_LFS_ATTRIBUTE = re.compile(rb"^\s*[^#\s].*\sfilter=lfs(?:\s|$)", re.MULTILINE)
# Pointers stay pointers at checkout, whatever filters the user has; git lfs pull replaces them.
_LFS_OFF = (("filter.lfs.process", ""), ("filter.lfs.smudge", ""), ("filter.lfs.required", "false"))
_LFS_ON = (
    ("filter.lfs.clean", "git-lfs clean -- %f"),
    ("filter.lfs.process", "git-lfs filter-process"),
    ("filter.lfs.smudge", "git-lfs smudge -- %f"),
    ("filter.lfs.required", "true"),
    ("lfs.transfer.maxretries", "4"),
)
_NO_LARGE_FILE = r"object not found|object does not exist"


def look_up(git: Git, url: str, version: str, what: str) -> Optional[Found]:
    """What ``version`` means on the server, by its list of references.

    ``None`` for an abbreviated commit that none of them stands at. Raises ``SourceError``.
    """
    commit = full_commit(version)
    if commit:
        return Found(commit, commit)
    references = parse_listing(git.list_references(url, listing_options(version), what))
    found = find(references, version, url)
    if found is None and not (references and is_abbreviated(version)):
        raise unknown(references, version, url)
    return found


class Checkout:
    """One fetch with all its submodules: ``warnings`` grows, ``git_dirs`` holds the git directories."""

    def __init__(self, git: Git, git_dirs: str, listener: Listener) -> None:
        self.git_dirs = git_dirs
        self.warnings: list[str] = []
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
        self._git.run(
            ["checkout", "--quiet", "--force", "--detach", commit],
            what,
            Place(git_dir, work_tree, _LFS_OFF),
        )
        listed = self._git.run(["ls-files", "--stage", "-z"], what, Place(git_dir, work_tree))
        entries = [entry.partition("\t") for entry in listed.split("\0") if entry]
        self._pull_large_files(git_dir, work_tree, url, what, [path for _, _, path in entries])
        links = {path: info.split()[1] for info, _, path in entries if info.startswith(_GITLINK)}
        if links:
            self._fetch_submodules(git_dir, work_tree, url, links, submodule, depth)
        return commit, committed_at

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
                ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", *depth, "--", url, *wants],
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
        self._git.ask(
            url,
            [
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--filter=tree:0",
                "--",
                url,
                *_EVERYTHING,
            ],
            what,
            Place(git_dir),
        )
        names = self._git.run(
            ["rev-parse", f"--disambiguate={version.lower()}"], what, Place(git_dir)
        ).split()
        commits = {}
        for name in names:
            if self._git.run(["cat-file", "-t", name], what, Place(git_dir)).strip() == "commit":
                commits[name] = ""
        remove_tree(git_dir)
        if len(commits) > 1:
            raise ambiguous(version, commits, url)
        if not commits:
            raise self._unknown(url, version, what)
        return Found(*commits, *commits)

    def _pull_large_files(self, git_dir: str, work_tree: str, url: str, what: str, paths: list[str]) -> None:
        if not any(_uses_lfs(os.path.join(work_tree, path)) for path in paths if _is_attributes(path)):
            return
        if not self._git.has_lfs():
            self.warnings.append(
                f"{what[:1].upper()}{what[1:]} keeps files in Git LFS, which is not installed here: "
                "the build gets pointers in their place. Install git-lfs."
            )
            return
        self._check_lfs_configuration(git_dir, work_tree, what)
        self._listener.line(f"fetching large files of {what}")
        result = self._git.ask(
            url,
            ["lfs", "pull"],
            what,
            Place(git_dir, work_tree, (*_LFS_ON, ("remote.origin.url", url))),
            expected=_NO_LARGE_FILE,
        )
        if result.status:
            raise SourceError(
                "git_failed",
                f"The server lacks a large file of {what}.",
                hint="Push it there: git lfs push --all.",
            )

    def _check_lfs_configuration(self, git_dir: str, work_tree: str, what: str) -> None:
        """A repository can name another server for its large files; the rules for addresses hold for it."""
        path = os.path.join(work_tree, ".lfsconfig")
        if os.path.islink(path) or not os.path.isfile(path):
            return
        listed = self._git.run(
            ["config", "--file", path, "--no-includes", "--null", "--list"], what, Place(git_dir)
        )
        for entry in filter(None, listed.split("\0")):
            name, _, value = entry.partition("\n")
            if name.endswith("url"):
                self._check_address(value, f"The address of the large files of {what}")
                self._git.check_reach(value)

    def _check_address(self, url: str, subject: str) -> None:
        reason = ""
        try:
            git_url.check_url(url)
        except ValueError as error:
            reason = str(error)
        if not reason and git_url.transport(url) not in self._git.transports:
            reason = f"the transport {git_url.transport(url)} is not allowed in it"
        if reason:
            raise SourceError(
                "git_failed", f"{subject} is refused: {reason}.", hint="Correct it in the repository."
            )

    def _fetch_submodules(
        self, git_dir: str, work_tree: str, url: str, links: dict[str, str], parent: str, depth: int
    ) -> None:
        known = self._submodules(git_dir, work_tree, f"the repository {url}")
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
                address = git_url.join(url, address)
            except ValueError as error:
                raise SourceError("git_failed", f"The submodule {name!r} is refused: {error}.") from None
            self._check_address(address, f"The address of the submodule {name!r}")
            target = os.path.join(work_tree, path)
            # git leaves an empty directory there; anything else is a trick.
            if os.path.realpath(target) != os.path.join(os.path.realpath(work_tree), path) or os.listdir(
                target
            ):
                raise SourceError(
                    "path_outside_source", f"The submodule {name!r} is not a folder of its own."
                )
            self._listener.line(f"fetching submodule {name!r} from {address}")
            self.fetch(address, commit, target, name, depth + 1)

    def _submodules(self, git_dir: str, work_tree: str, what: str) -> dict[str, tuple[str, str]]:
        """What ``.gitmodules`` says: by path, the address and the way of updating."""
        path = os.path.join(work_tree, ".gitmodules")
        if os.path.islink(path) or not os.path.isfile(path):
            return {}
        listed = self._git.run(
            ["config", "--file", path, "--no-includes", "--null", "--list"], what, Place(git_dir)
        )
        sections: dict[str, dict[str, str]] = {}
        for entry in filter(None, listed.split("\0")):
            name, _, value = entry.partition("\n")
            section, _, key = name.rpartition(".")
            sections.setdefault(section, {})[key] = value
        return {
            keys["path"].rstrip("/"): (keys.get("url", ""), keys.get("update", ""))
            for keys in sections.values()
            if "path" in keys
        }


def _is_attributes(path: str) -> bool:
    return path.rpartition("/")[2] == ".gitattributes"


def _uses_lfs(path: str) -> bool:
    if os.path.islink(path):
        return False
    try:
        with open(path, "rb") as file:
            return bool(_LFS_ATTRIBUTE.search(file.read()))
    except OSError:
        return False
