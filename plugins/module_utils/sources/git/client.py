# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The git program, run so that a hostile repository or address gets nothing out of it.

Each run has limits (see ``bounded``) and knows no more than it must (see ``environment``).

Each host that git is to ask is judged first: by the operator's reach; and where the document names a public
server, nothing that this one names, by a redirect or as a submodule, leads to an address of this machine
or of its own network, or from https to http. Over HTTP git 2.37 and newer connects to the addresses that were
judged, whatever the name means by then. Redirects are not left to git.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Callable, Optional
from urllib.parse import urljoin

from ... import process, retry
from ...document.source import GitRepo
from ...errors import SourceError
from ...listener import Listener
from ...network import git_url
from ...policy import Policy
from ...retry import Patience
from . import bounded
from .bounded import Bounds, LimitPassed
from .environment import (
    Settings,
    account,
    allowing,
    base_environment,
    has_passphrase,
    with_access,
    with_config,
)
from .messages import PassingError, explain, limit_passed
from .onward import Onward

# GIT_CONFIG_COUNT, which carries the configuration.
_OLDEST_GIT = (2, 31)
# Where GIT_NO_LAZY_FETCH began: the first release, and those that got it afterwards.
_NO_LAZY_FETCH, _NO_LAZY_FETCH_LATER = (2, 45, 0), {39: 4, 40: 2, 41: 1, 42: 2, 43: 4, 44: 1}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 4.0
_TRIES = 5
_KEEP_TRYING_SECONDS = 10.0
_ASK_TIMEOUT_SECONDS = 60.0
# For a list of references, and what else is about names only.
_ASK_MEMORY = 512 << 20
_MOST_REDIRECTS = 5
_REDIRECTED = re.compile(r"returned error: 30[12378]")
_SERVICE = "/info/refs?service=git-upload-pack"


@dataclass(frozen=True)
class Place:
    """Where git works: its ``git_dir``, the ``work_tree``, and the ``config`` that holds for this call."""

    git_dir: str = os.devnull
    work_tree: Optional[str] = None
    config: Settings = ()


class Git:
    """git for one document's repository: its credentials, its key, its transports.

    ``transports`` are those that may be used (``git_url.TRANSPORTS``); ``listener`` gets a
    plain line when something is tried again; ``policy`` says to which addresses git may connect, and how much
    it may take. ``folder`` is where it writes, empty for nowhere.
    Raises ``SourceError``: ``git_missing``, ``ssh_key_unusable``, ``git_unauthorized`` for a
    credential that git cannot take.
    """

    def __init__(self, repo: GitRepo, listener: Listener, policy: Policy, folder: str = "") -> None:
        self.repo = repo
        self.transports = tuple(
            name for name in git_url.TRANSPORTS if name != "file" or git_url.transport(repo.url) == "file"
        )
        self.limits = policy.source
        self.listener = listener
        self._end = time.monotonic() + policy.source.seconds
        self._folder = folder
        own = policy.own_settings
        self._local = allowing(base_environment(own_settings=own), self.transports)
        self._remote = with_access(self._local, repo, own_settings=own)
        self.knows_no_lazy_fetch = self._require()
        self._resolved: dict[str, str] = {}
        self._moved: dict[str, str] = {}
        self.onward = Onward(self.resolved(repo.url), policy.reach)

    def run(
        self,
        arguments: Sequence[str],
        what: str,
        place: Place,
        take: Optional[Callable[[bytes], None]] = None,
    ) -> str:
        """Run git on a local repository and return its output, or give it to ``take`` as it comes.

        Raises ``SourceError``.
        """
        try:
            result = self._call(arguments, self._local, place, take=take)
        except LimitPassed as error:
            raise limit_passed(error, what) from None
        except subprocess.TimeoutExpired:
            raise explain("timed out", what) from None
        if result.status:
            raise explain(self._said(result), what)
        return result.stdout

    def resolved(self, url: str) -> str:
        """``url`` as git's configuration (``url.*.insteadOf``) has it. Raises ``SourceError``."""
        if url not in self._resolved:
            asked = self.run(["ls-remote", "--get-url", "--", url], f"the address {url}", Place()).strip()
            self._resolved[url] = asked or url
        return self._resolved[url]

    def setting(self, name: str) -> str:
        """The value of ``name`` in the configuration of the user and of the machine, or nothing."""
        return self._call(["config", "--get", name], self._local, Place()).stdout.strip()

    def ask(
        self,
        url: str,
        arguments: Sequence[str],
        what: str,
        place: Place,
        *,
        timeout: Optional[float] = None,
        expected: str = "",
    ) -> process.Result:
        """Run git where it talks to the server of ``url``; a failure that may pass is tried again.

        A failure whose message fits the pattern ``expected`` is returned for the caller to
        judge, every other one raises ``SourceError``. ``timeout`` is in seconds; less than the usual memory
        goes with one.
        """

        def once() -> process.Result:
            for _ in range(_MOST_REDIRECTS):
                current = self._moved.get(url, url)
                asked = [current if argument == url else argument for argument in arguments]
                result = self._call(asked, *self._towards(current, place), timeout)
                said = result.stderr
                if result.status == 0 or (expected and re.search(expected, said)):
                    return result
                # A server may send on a part of what git asks it only; that is not followed.
                moved = url in arguments and _REDIRECTED.search(said) and self._follow(current, what)
                if not moved:
                    break
                self._moved[url] = moved
            raise self._explained(result, what)

        patience = Patience(_KEEP_TRYING_SECONDS, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE, tries=_TRIES)
        try:
            return retry.patiently(
                once,
                PassingError,
                lambda _: patience.pause(),
                tell=lambda error, pause: self.listener.line(f"{error.message} Trying again in {pause:g} s."),
                wait=process.pause,
            )
        except LimitPassed as error:
            raise limit_passed(error, what) from None
        except subprocess.TimeoutExpired as error:
            raise explain(f"timed out after {error.timeout:.0f} seconds", what) from None

    def list_references(self, url: str, options: Sequence[str], what: str) -> str:
        """The output of ``git ls-remote`` with ``options`` and patterns. Raises ``SourceError``."""
        flags = [option for option in options if option.startswith("--")]
        patterns = [option for option in options if not option.startswith("--")]
        return self.ask(
            url,
            ["ls-remote", "--quiet", *flags, "--", url, *patterns],
            what,
            Place(),
            timeout=_ASK_TIMEOUT_SECONDS,
        ).stdout

    def has_lfs(self) -> bool:
        """Whether Git LFS is installed."""
        return self._call(["lfs", "version"], self._local, Place()).status == 0

    def ask_by_ssh(self, url: str, program: str, argument: str) -> str:
        """What ``program PATH argument`` prints at the ssh server of ``url``; nothing where it fails.

        Raises ``SourceError``.
        """
        target = self.resolved(url)
        self.onward.addresses(target)
        place, port, path = git_url.ssh_place(target)
        options = shlex.split(self._remote["GIT_SSH_COMMAND"]) + (["-p", port] if port else [])
        argv = [*options, "--", place, shlex.join([program, path, argument])]
        try:
            result = bounded.run(
                argv,
                Bounds(self.limits, "", memory=_ASK_MEMORY),
                env=self._remote,
                cwd="/",
                seconds=min(_ASK_TIMEOUT_SECONDS, max(self._end - time.monotonic(), 0.0)),
            )
        except (LimitPassed, FileNotFoundError, subprocess.TimeoutExpired):
            return ""
        return "" if result.status else result.stdout

    def login(self, url: str) -> Optional[tuple[str, str]]:
        """The document's user name and password, where they are for the server of ``url``."""
        scope = git_url.credential_scope(url)
        if scope is None or scope != git_url.credential_scope(self.repo.url) or self.repo.password is None:
            return None
        return account(self.repo)

    def _towards(self, url: str, place: Place) -> tuple[dict[str, str], Place]:
        """The environment and the place with which git talks to the server of ``url``, and to no other."""
        target = self.resolved(url)
        pinned = self.onward.addresses(target)
        transport = "file" if target.startswith("/") else git_url.transport(target)
        transports = [transport] if transport in self.transports else self.transports
        return allowing(self._remote, transports), replace(place, config=(*place.config, *pinned))

    def _follow(self, url: str, what: str) -> str:
        """Where the server of ``url`` sends git on to, empty where it cannot be told."""
        environment, place = self._towards(url, Place())
        traced = {
            **environment,
            "GIT_TRACE_CURL": "1",
            "GIT_TRACE_CURL_NO_DATA": "1",
        }
        said = self._call(["ls-remote", "--", url], traced, place, _ASK_TIMEOUT_SECONDS).stderr
        found = re.findall(r"<= Recv header: location: *(\S+)", said, re.IGNORECASE)
        following = urljoin(self.resolved(url).rstrip("/") + _SERVICE, found[-1]) if found else ""
        if not following.endswith(_SERVICE):
            return ""
        following = following[: -len(_SERVICE)]
        self.onward.check_redirect(self.resolved(url), self.resolved(following), what)
        return following

    def _call(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        place: Place,
        timeout: Optional[float] = None,
        take: Optional[Callable[[bytes], None]] = None,
    ) -> process.Result:
        environment = {**with_config(environment, place.config), "GIT_DIR": place.git_dir}
        if place.work_tree is not None:
            environment["GIT_WORK_TREE"] = place.work_tree
        left = max(self._end - time.monotonic(), 0.0)
        try:
            return bounded.run(
                ["git", *arguments],
                Bounds(
                    self.limits,
                    self._folder,
                    memory=_ASK_MEMORY if timeout else None,
                    talk_memory=_ASK_MEMORY if arguments[0] == "fetch" else None,
                ),
                env=environment,
                cwd=place.work_tree or "/",
                seconds=left if timeout is None else min(timeout, left),
                take=take,
            )
        except FileNotFoundError:
            raise _missing("git is not installed on this machine.") from None

    def _said(self, result: process.Result) -> str:
        """What git said of its failure."""
        if result.status < 0 and not result.stderr.strip():
            return f"it was ended by signal {-result.status}"
        return result.stderr

    def _explained(self, result: process.Result, what: str) -> SourceError:
        error = explain(self._said(result), what)
        if error.code in ("git_unauthorized", "ssh_key_unusable") and has_passphrase(self.repo.ssh_key_file):
            return SourceError(
                "ssh_key_unusable",
                f"The ssh key {self.repo.ssh_key_file} has a passphrase, which nobody is asked for.",
                hint="Give one without as 'ssh_key_file', such as a deploy key of the repository.",
            )
        return error

    def _require(self) -> bool:
        """Whether git can be told never to fetch on its own. Raises ``SourceError`` where it is too old."""
        answer = self._call(["version"], self._local, Place()).stdout
        found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", answer)
        if not found:
            return False
        version = tuple(int(number or 0) for number in found.groups())
        if version[:2] < _OLDEST_GIT:
            raise _missing(f"git {version[0]}.{version[1]} is too old.")
        patched = _NO_LAZY_FETCH_LATER.get(version[1]) if version[0] == 2 else None
        return version >= _NO_LAZY_FETCH or (patched is not None and version[2] >= patched)


def _missing(message: str) -> SourceError:
    oldest = ".".join(map(str, _OLDEST_GIT))
    return SourceError(
        "git_missing", message, hint=f"Install git {oldest} or newer, such as: apt-get install git."
    )
