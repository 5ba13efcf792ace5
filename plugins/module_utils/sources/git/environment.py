# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What git is run with: its environment and configuration, and how credentials reach it.

Credentials reach git through a credential helper for the one server that the document
names (scheme, host and port), and the helper reads them from the environment of that one
process: they are in no argument, no address and no file. A password without a user name is a
token and goes with the user name ``oauth2``, which GitLab demands for some tokens and GitHub
and Gitea take like any other.

The user's configuration stays in effect (proxy, CA, insteadOf) but for what could ask, run
a program, store a credential, or use one that the document does not name. Where the operator does
not let the user's own settings count, neither does that, nor ``.netrc``, nor what ssh has: keys, an
agent, known hosts. The configuration of the machine, in ``/etc``, is the operator's.
"""

from __future__ import annotations

import base64
import os
import shlex
import stat
from collections.abc import Mapping, Sequence
from typing import Optional

from ...document.source import GitRepo
from ...errors import SourceError
from ...network import git_url

_TOKEN_USERNAME = "oauth2"

_KEPT_VARIABLES = ("GIT_SSL_", "GIT_PROXY_", "GIT_HTTP_", "GIT_CONFIG_", "GIT_EXEC_PATH")
_USERS_VARIABLES = ("GIT_CONFIG_", "XDG_", "SSH_", "NETRC", "CURL_HOME")

#: Names and values of git's configuration.
Settings = tuple[tuple[str, str], ...]

_CONFIGURATION: Settings = (
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
    # A small pack would become a file for each object.
    ("fetch.unpackLimit", "1"),
    # A server that says where more is to be had names addresses that nobody has judged.
    ("transfer.bundleURI", "false"),
    ("fetch.bundleURI", ""),
    ("fetch.uriProtocols", ""),
    # Redirects are followed here, each judged (see ``client``).
    ("http.followRedirects", "false"),
    ("http.lowSpeedLimit", "1"),
    ("http.lowSpeedTime", "60"),
    ("advice.detachedHead", "false"),
)

# A constant text: the values come from the environment, never from this line.
_HELPER = (
    '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" '
    '"$IMAGE_BUILDER_GIT_USERNAME" "$IMAGE_BUILDER_GIT_PASSWORD"; }; f'
)


def base_environment(*, own_settings: bool) -> dict[str, str]:
    """The caller's environment without what redirects, traces or prompts, plus the configuration above."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if (not name.startswith("GIT_") or name.startswith(_KEPT_VARIABLES))
        and name not in ("GIT_CONFIG_PARAMETERS", "SSH_ASKPASS")
        and (own_settings or not name.startswith(_USERS_VARIABLES))
    }
    if not own_settings:
        kept.update(GIT_CONFIG_GLOBAL=os.devnull, HOME=os.devnull)
    kept.update(
        LC_ALL="C",
        GIT_TERMINAL_PROMPT="0",
        GIT_ASKPASS="",
        GIT_NO_REPLACE_OBJECTS="1",
        # An object that is missing would be fetched by a git of its own, which may lack one as well.
        GIT_NO_LAZY_FETCH="1",
    )
    return with_config(kept, _CONFIGURATION)


def allowing(environment: Mapping[str, str], transports: Sequence[str]) -> dict[str, str]:
    """``environment`` in which git uses no transport but ``transports``."""
    return {**environment, "GIT_ALLOW_PROTOCOL": ":".join(transports)}


def with_config(environment: Mapping[str, str], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
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


def with_access(environment: Mapping[str, str], repo: GitRepo, *, own_settings: bool) -> dict[str, str]:
    """``environment`` with what lets git in where ``repo`` is.

    Raises ``SourceError``: ``ssh_key_unusable``, ``git_unauthorized`` for a credential that git cannot take.
    """
    command = shlex.join(_ssh_words(repo, own_settings=own_settings))
    access = {**environment, "GIT_SSH_COMMAND": command, "GIT_SSH_VARIANT": "ssh"}
    scope = git_url.credential_scope(repo.url)
    if scope is None or (repo.username is None and repo.password is None):
        return access
    username, password = account(repo)
    if any(char in username + password for char in "\0\r\n"):
        raise SourceError(
            "git_unauthorized",
            "The user name or the password of the repository has a line break.",
            hint="Give the text alone; a file may end with one line break.",
        )
    access.update(IMAGE_BUILDER_GIT_USERNAME=username, IMAGE_BUILDER_GIT_PASSWORD=password)
    return with_config(access, [(f"credential.{scope}.helper", _HELPER)])


def account(repo: GitRepo) -> tuple[str, str]:
    """The user name and the password that are sent to the server of ``repo``."""
    return repo.username or _TOKEN_USERNAME, repo.password.reveal() if repo.password else ""


def _ssh_words(repo: GitRepo, *, own_settings: bool) -> list[str]:
    """git hands these to a shell, so every word is quoted by who joins them."""
    words = ["ssh"]
    if not own_settings:
        words += ["-F", os.devnull, "-o", "IdentityAgent=none", "-o", "IdentitiesOnly=yes"]
        if repo.ssh_key_file is None:
            words += ["-o", "IdentityFile=none"]
        if repo.ssh_known_hosts_file is None:
            words += ["-o", f"UserKnownHostsFile={os.devnull}"]
    words += ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=15"]
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
    return words


def has_passphrase(name: Optional[str]) -> bool:
    """Whether the private key in the file ``name`` is encrypted.

    Sources: PROTOCOL.key of OpenSSH for its own format, where the cipher's name follows the magic text;
    RFC 7468 and RFC 1421 for the others, which say so in their heads.
    """
    if name is None:
        return False
    try:
        with open(os.path.expanduser(name), "rb") as file:
            text = file.read(1 << 16)
    except OSError:
        return False
    if b"BEGIN ENCRYPTED PRIVATE KEY" in text or b"Proc-Type: 4,ENCRYPTED" in text:
        return True
    magic = b"openssh-key-v1\0"
    _, begins, rest = text.partition(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    try:
        key = base64.b64decode(rest.partition(b"-----END")[0])
    except ValueError:
        return False
    return bool(begins) and key.startswith(magic) and not key[len(magic) :].startswith(b"\0\0\0\4none")


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
