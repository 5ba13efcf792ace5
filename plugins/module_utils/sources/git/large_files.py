# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The files that a repository keeps in Git LFS.

A repository says in ``.lfsconfig`` where they are and which are not fetched. What it says is judged, and
overruled where it would leave pointers in the place of files (see git-lfs-config(5), "LFSCONFIG").
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...errors import SourceError
from ...listener import Listener
from ...network import git_url
from ...network.reach import FORBIDDEN_HINT, Nearness
from ...policy import everywhere
from .client import Git, Place
from .environment import Settings

_ON = (
    ("filter.lfs.clean", "git-lfs clean -- %f"),
    ("filter.lfs.process", "git-lfs filter-process"),
    ("filter.lfs.smudge", "git-lfs smudge -- %f"),
    ("filter.lfs.required", "true"),
    ("lfs.transfer.maxretries", "4"),
    ("lfs.skipdownloaderrors", "false"),
    ("lfs.gitprotocol", "https"),
)
_NOT_THERE = r"object not found|object does not exist"
_CONFIG = ".lfsconfig"
# git reads no longer ones (see gitattributes(5), "NOTES").
_LONGEST_ATTRIBUTES = 100 << 20
_LONGEST_CONFIG = 1 << 20


@dataclass(frozen=True)
class Tree:
    """Files that were checked out of a repository: ``what`` names the one, at ``url``, in sentences."""

    git_dir: str
    work_tree: str
    url: str
    what: str


def pull_large_files(git: Git, tree: Tree, attributes: Sequence[str], listener: Listener) -> str:
    """Put the files in the place of their pointers, if there are some; returns a warning, or nothing.

    ``attributes`` are the paths of the files that can say so. Raises ``SourceError``.
    """
    if not any(_uses_lfs(os.path.join(tree.work_tree, path)) for path in attributes):
        return ""
    what = f"{tree.what[:1].upper()}{tree.what[1:]}"
    if not git.has_lfs():
        return (
            f"{what} keeps files in Git LFS, which is not installed here: "
            "the build gets pointers in their place. Install git-lfs."
        )
    address = _address(git, tree)
    listener.line(f"fetching large files of {tree.what}")
    headers: Mapping[str, str] = {}
    asked = address or tree.url
    if not _is_guarded(git, asked):
        _pull(git, tree, address)
        return ""
    if git_url.transport(git.resolved(asked)) == "ssh":
        address, headers = _named_by_ssh(git, tree, asked)
    if not address:
        # All that is said then goes by this one connection.
        _pull(git, tree, "", (("lfs.sshtransfer", "always"),))
    else:
        # Not before it is needed: it imports urllib3, which may be missing.
        from .large_file_gateway import Server, gateway

        target = git.resolved(address)
        server = Server(target, git.login(address), git.onward.nearest(target), headers)
        with gateway(server, git.onward.reach, git.limits.seconds) as between:
            try:
                _pull(git, tree, between.url)
            except SourceError:
                if between.refused:
                    raise SourceError(
                        "address_forbidden",
                        f"A large file of {tree.what} is not fetched: {between.refused[0]}.",
                        hint=FORBIDDEN_HINT,
                    ) from None
                raise
    return ""


def _named_by_ssh(git: Git, tree: Tree, url: str) -> tuple[str, Mapping[str, str]]:
    """The server of large files that the ssh server of ``url`` names, judged, with the headers for it.

    The address is empty where it names none. Source: git-lfs, docs/api/server-discovery.md.
    """
    said = git.ask_by_ssh(url, "git-lfs-authenticate", "download")
    if not said:
        return "", {}
    try:
        told = json.loads(said)
        address = str(told["href"])
        headers = {str(name): str(text) for name, text in (told.get("header") or {}).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise SourceError(
            "git_failed",
            f"The server of {tree.what} does not tell where its large files are.",
            hint="Ask its operator; git-lfs-authenticate answers there.",
        ) from None
    check_address(git, address, f"The address of the large files of {tree.what}")
    if any(not text.isprintable() for pair in headers.items() for text in pair):
        headers = {}
    return address, headers


def _is_guarded(git: Git, address: str) -> bool:
    """Whether the server of large files at ``address`` may not lead to all that can be reached from here."""
    target = git.resolved(address)
    if target.startswith("/") or git_url.transport(target) not in ("https", "http", "ssh"):
        return False
    if git.onward.reach is not everywhere:
        return True
    # These hold for git alone. A proxy has its own view of what there is to reach.
    own = any(
        git.setting(name) for name in ("http.proxy", "http.sslCAInfo", "http.sslCAPath", "http.sslCert")
    )
    own = own or any(name.startswith("GIT_SSL_") for name in os.environ)
    return not own and git.onward.nearest(target) is not Nearness.HERE


def _pull(git: Git, tree: Tree, address: str, more: Settings = ()) -> None:
    """Have Git LFS ask at ``address``, or where it finds it by itself."""
    settings: Settings = (*_ON, ("remote.origin.url", tree.url), *more)
    if address:
        settings = (*settings, ("lfs.url", address), ("lfs.pushurl", address))
    result = git.ask(
        tree.url,
        ["lfs", "pull", "--include=", "--exclude="],
        tree.what,
        Place(tree.git_dir, tree.work_tree, settings),
        expected=_NOT_THERE,
    )
    if result.status:
        raise SourceError(
            "git_failed",
            f"The server lacks a large file of {tree.what}.",
            hint="Push it there: git lfs push --all.",
        )


def _address(git: Git, tree: Tree) -> str:
    """Where the large files are, judged; empty where that is the repository's own address, by ssh or a file.

    Source of which setting counts: git-lfs-config(5). The user's own stand above the repository's.
    """
    named: dict[str, str] = {}
    for name, value in read_config(git, tree, _CONFIG):
        if name.endswith("url"):
            check_address(git, value, f"The address of the large files of {tree.what}")
        named[name] = value
    for name in ("lfs.url", "remote.origin.lfsurl"):
        own = git.setting(name)
        if own or name in named:
            return own or named[name]
    if git_url.transport(tree.url) in ("ssh", "file"):
        return ""
    base = re.sub(r"\Agit://", "https://", tree.url).rstrip("/")
    return f"{base}{'' if base.endswith('.git') else '.git'}/info/lfs"


def check_address(git: Git, url: str, subject: str) -> None:
    """Raise ``SourceError`` where the repository may not name ``url``, which ``subject`` says what it is of.

    It is judged as what git's configuration makes of it.
    """
    reason = ""
    try:
        git_url.check_url(url)
    except ValueError as error:
        reason = str(error)
    target = url if reason else git.resolved(url)
    if reason or (reason := git.onward.refusal(target)):
        raise SourceError(
            "git_failed", f"{subject} is refused: {reason}.", hint="Correct it in the repository."
        )
    git.onward.addresses(target)


def read_config(git: Git, tree: Tree, name: str) -> Iterator[tuple[str, str]]:
    """Names and values of the file ``name`` of ``tree``, which is in the form of git's configuration.

    There are none where it leads out of the tree. Raises ``SourceError``.
    """
    root = os.path.realpath(tree.work_tree)
    path = os.path.realpath(os.path.join(root, name))
    if not path.startswith(os.path.join(root, "")) or not os.path.isfile(path):
        return
    if os.path.getsize(path) > _LONGEST_CONFIG:
        raise SourceError(
            "git_failed", f"{name} of {tree.what} is too long.", hint="Correct it in the repository."
        )
    listed = git.run(
        ["config", "--file", path, "--no-includes", "--null", "--list"], tree.what, Place(tree.git_dir)
    )
    for entry in filter(None, listed.split("\0")):
        key, _, value = entry.partition("\n")
        yield key, value


def _uses_lfs(path: str) -> bool:
    if os.path.islink(path):
        return False
    try:
        if os.path.getsize(path) > _LONGEST_ATTRIBUTES:
            return False
        with open(path, "rb") as file:
            return any(b"filter=lfs" in line.split() and line.lstrip()[:1] != b"#" for line in file)
    except OSError:
        return False
