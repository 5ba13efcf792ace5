# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The git program, run so that a hostile repository or address gets nothing out of it.

Credentials reach git through a credential helper for the one server that the document
names (scheme, host and port), and the helper reads them from the environment of that one
process: they are in no argument, no address and no file. A password without a user name is a
token and goes with the user name ``oauth2``, which GitLab demands for some tokens and GitHub
and Gitea take like any other.

The user's configuration stays in effect (proxy, CA, insteadOf) but for what could ask, run
a program, store a credential, or use one that the document does not name.

Where the operator forbids addresses, each that the host of a URL has is asked for first. Over HTTP git
2.37 and newer connects to these, whatever the name means by then, and none follows a redirect.
What Git LFS is told by a server that may be asked is beyond this: it fetches large files from
wherever that server says.
"""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from ... import process, retry
from ...document.source import GitRepo
from ...errors import SourceError
from ...listener import Listener
from ...network import git_url
from ...network.reach import check_host
from ...policy import Policy, everywhere
from ...retry import Patience
from ...secret import redact
from .messages import PassingError, explain

# GIT_CONFIG_COUNT, which carries the configuration below.
_OLDEST_GIT = (2, 31)
_TOKEN_USERNAME = "oauth2"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 4.0
_TRIES = 5
_KEEP_TRYING_SECONDS = 10.0
_ASK_TIMEOUT_SECONDS = 60.0
_FETCH_TIMEOUT_SECONDS = 3600.0

_KEPT_VARIABLES = ("GIT_SSL_", "GIT_PROXY_", "GIT_HTTP_", "GIT_CONFIG_", "GIT_EXEC_PATH")

_CONFIGURATION = (
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.askPass", ""),
    ("core.autocrlf", "false"),
    ("core.symlinks", "true"),
    ("credential.helper", ""),
    ("fetch.recurseSubmodules", "no"),
    ("submodule.recurse", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
    ("advice.detachedHead", "false"),
)

_NO_REDIRECTS = (("http.followRedirects", "false"),)

# A constant text: the values come from the environment, never from this line.
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
    '"$IMAGE_BUILDER_GIT_USERNAME" "$IMAGE_BUILDER_GIT_PASSWORD"; }; f'
)


#: Names and values of git's configuration.
Settings = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Place:
    """Where git works: its ``git_dir``, the ``work_tree``, and the ``config`` that holds for this call."""

    git_dir: str = os.devnull
    work_tree: Optional[str] = None
    config: Settings = ()


class Git:
    """git for one document's repository: its credentials, its key, its transports.

    ``transports`` are those that may be used (``git_url.TRANSPORTS``); ``listener`` gets a
    plain line when something is tried again; ``policy`` says to which addresses git may connect.
    Raises ``SourceError``: ``git_missing``, ``ssh_key_unusable``, ``git_unauthorized`` for a
    credential that git cannot take.
    """

    def __init__(self, repo: GitRepo, listener: Listener, policy: Policy) -> None:
        self.repo = repo
        self._reach = policy.reach
        self.transports = tuple(
            name for name in git_url.TRANSPORTS if name != "file" or git_url.transport(repo.url) == "file"
        )
        self._listener = listener
        self._local = _environment(self.transports)
        self._remote = _with_access(self._local, repo)
        if policy.reach is not everywhere:
            self._remote = _with_config(self._remote, _NO_REDIRECTS)
        self._require()

    def run(self, arguments: Sequence[str], what: str, place: Place) -> str:
        """Run git on a local repository and return its output. Raises ``SourceError``."""
        result = self._call(arguments, self._local, place)
        if result.status:
            raise explain(self._clean(result.stderr), what)
        return result.stdout

    def check_reach(self, url: str) -> Settings:
        """The settings with which git connects to the addresses of the host of ``url`` that are checked here.

        Raises ``SourceError`` ``address_forbidden`` where it may not connect to one of them.
        """
        if self._reach is everywhere:
            return ()
        asked = self._call(["ls-remote", "--get-url", "--", url], self._local, Place()).stdout.strip()
        place = git_url.host_and_port(asked)
        if place is None:
            return ()
        host, port = place
        addresses = check_host(host, port, self._reach)
        if not addresses or ":" in host:  # nothing changes what a literal address means
            return ()
        listed = ",".join(f"[{address}]" if ":" in address else address for address in addresses)
        return (("http.curloptResolve", f"{host}:{port}:{listed}"),)

    def ask(
        self,
        url: str,
        arguments: Sequence[str],
        what: str,
        place: Place,
        *,
        timeout: float = _FETCH_TIMEOUT_SECONDS,
        expected: str = "",
    ) -> process.Result:
        """Run git where it talks to the server of ``url``; a failure that may pass is tried again.

        A failure whose message fits the pattern ``expected`` is returned for the caller to
        judge, every other one raises ``SourceError``. ``timeout`` is in seconds.
        """

        def once() -> process.Result:
            pinned = replace(place, config=(*place.config, *self.check_reach(url)))
            result = self._call(arguments, self._remote, pinned, timeout)
            if result.status == 0 or (expected and re.search(expected, result.stderr)):
                return result
            raise explain(self._clean(result.stderr), what)

        patience = Patience(_KEEP_TRYING_SECONDS, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE, tries=_TRIES)
        try:
            return retry.patiently(
                once,
                PassingError,
                lambda _: patience.pause(),
                tell=lambda error, pause: self._listener.line(
                    f"{error.message} Trying again in {pause:g} s."
                ),
            )
        except subprocess.TimeoutExpired:
            raise explain(f"timed out after {timeout:.0f} seconds", what) from None

    def list_references(self, url: str, options: Sequence[str], what: str) -> str:
        """The output of ``git ls-remote``. Raises ``SourceError``."""
        return self.ask(
            url,
            ["ls-remote", "--quiet", *options, "--", url],
            what,
            Place(),
            timeout=_ASK_TIMEOUT_SECONDS,
        ).stdout

    def has_lfs(self) -> bool:
        """Whether Git LFS is installed."""
        return self._call(["lfs", "version"], self._local, Place()).status == 0

    def _call(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        place: Place,
        timeout: Optional[float] = None,
    ) -> process.Result:
        environment = {**_with_config(environment, place.config), "GIT_DIR": place.git_dir}
        if place.work_tree is not None:
            environment["GIT_WORK_TREE"] = place.work_tree
        try:
            return process.run(
                ["git", *arguments], env=environment, cwd=place.work_tree or "/", timeout=timeout
            )
        except FileNotFoundError:
            raise _missing("git is not installed on this machine.") from None

    def _clean(self, stderr: str) -> str:
        return redact(stderr, [self.repo.password] if self.repo.password else [])

    def _require(self) -> None:
        answer = self._call(["version"], self._local, Place()).stdout
        found = re.search(r"(\d+)\.(\d+)", answer)
        if found and tuple(map(int, found.groups())) < _OLDEST_GIT:
            raise _missing(f"git {found.group()} is too old.")


def _missing(message: str) -> SourceError:
    oldest = ".".join(map(str, _OLDEST_GIT))
    return SourceError(
        "git_missing", message, hint=f"Install git {oldest} or newer, such as: apt-get install git."
    )


def _environment(transports: Sequence[str]) -> dict[str, str]:
    """The caller's environment without what redirects, traces or prompts, plus the configuration above."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if (not name.startswith("GIT_") or name.startswith(_KEPT_VARIABLES))
        and name not in ("GIT_CONFIG_PARAMETERS", "SSH_ASKPASS")
    }
    kept.update(
        LC_ALL="C",
        GIT_TERMINAL_PROMPT="0",
        GIT_ASKPASS="",
        GIT_ALLOW_PROTOCOL=":".join(transports),
        GIT_NO_REPLACE_OBJECTS="1",
    )
    return _with_config(kept, _CONFIGURATION)


def _with_config(environment: Mapping[str, str], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Add configuration after what the environment carries already (git-config(1), GIT_CONFIG_COUNT)."""
    count = environment.get("GIT_CONFIG_COUNT", "")
    number = int(count) if count.isdigit() else 0
    added = dict(environment)
    for name, value in pairs:
        added[f"GIT_CONFIG_KEY_{number}"] = name
        added[f"GIT_CONFIG_VALUE_{number}"] = value
        number += 1
    added["GIT_CONFIG_COUNT"] = str(number)
    return added


def _with_access(environment: Mapping[str, str], repo: GitRepo) -> dict[str, str]:
    access = {**environment, "GIT_SSH_COMMAND": _ssh_command(repo), "GIT_SSH_VARIANT": "ssh"}
    scope = git_url.credential_scope(repo.url)
    if scope is None or (repo.username is None and repo.password is None):
        return access
    password = repo.password.reveal() if repo.password else ""
    username = repo.username or _TOKEN_USERNAME
    if any(char in username + password for char in "\0\r\n"):
        raise SourceError(
            "git_unauthorized",
            "The user name or the password of the repository has a line break.",
            hint="Give the text alone; a file may end with one line break.",
        )
    access.update(IMAGE_BUILDER_GIT_USERNAME=username, IMAGE_BUILDER_GIT_PASSWORD=password)
    return _with_config(access, [(f"credential.{scope}.helper", _HELPER)])


def _ssh_command(repo: GitRepo) -> str:
    """git hands this text to a shell, so every word is quoted."""
    words = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15"]
    words += ["-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"]
    # A connection shared by the user's configuration would outlive the build.
    words += ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
    if repo.ssh_key_file is not None:
        path = _readable(repo.ssh_key_file, "ssh_key_file")
        state = os.stat(path)
        if state.st_uid == os.geteuid() and stat.S_IMODE(state.st_mode) & 0o077:
            raise SourceError(
                "ssh_key_unusable",
                f"The ssh key {path} can be read by others, so ssh does not use it.",
                hint=f"Run: chmod 600 {shlex.quote(path)}",
            )
        words += ["-o", "IdentitiesOnly=yes", "-o", f"IdentityFile={_ssh_path(path)}"]
    if repo.ssh_known_hosts_file is not None:
        path = _readable(repo.ssh_known_hosts_file, "ssh_known_hosts_file")
        words += ["-o", f"UserKnownHostsFile={_ssh_path(path)}"]
    return shlex.join(words)


def _readable(name: str, what: str) -> str:
    path = os.path.abspath(os.path.expanduser(name))
    reason = ""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        reason = error.strerror or "it is not readable"
    if reason or not path.isprintable() or '"' in path:
        raise SourceError(
            "ssh_key_unusable",
            f"The file {path!r} ({what}) cannot be used: {reason or 'ssh cannot read such a name'}.",
            hint=f"Give a file of the machine that fetches the source as '{what}'.",
        )
    return path


def _ssh_path(path: str) -> str:
    """``path`` as ssh_config(5) reads it: quoted for blanks, percent signs doubled."""
    return '"' + path.replace("\\", "\\\\").replace("%", "%%") + '"'
