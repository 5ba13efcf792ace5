# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Addresses of git repositories: which are accepted, and what is read from them.

The document is hostile input, so an address is checked here before git sees it: git
itself would run commands for some (``ext::``), and read others as options.
"""

from __future__ import annotations

import re
from typing import Optional

TRANSPORTS = ("https", "http", "ssh", "git", "file")

_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)\Z", re.DOTALL)
_HELPER = re.compile(r"[A-Za-z0-9+.-]*::")
_SCP = re.compile(r"(?:(?P<user>[^@/:]*)@)?(?P<host>\[[^\]/]*\]|[^/:]*):(?P<path>.*)\Z", re.DOTALL)
_HOST = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?|\[[0-9A-Fa-f:.]+\])\Z")
_USER = re.compile(r"[A-Za-z0-9_.+~\\][A-Za-z0-9_.+~\\-]*\Z")
_ENCODED_CONTROL = re.compile(r"%(?:[01][0-9a-f]|7f)", re.IGNORECASE)


def check_url(url: str) -> None:
    """Accept ``url``, or raise ``ValueError`` with one sentence that never repeats a credential.

    Accepted are ``https://``, ``http://``, ``ssh://``, ``git://`` and ``file:///`` addresses and
    ssh's short form ``user@host:path`` (see git-clone(1), "GIT URLS").
    """
    if not url:
        raise ValueError("give the address of a git repository")
    if any(ord(char) < 32 or ord(char) == 127 for char in url) or _ENCODED_CONTROL.search(url):
        raise ValueError("a git address has no control characters")
    if url != url.strip():
        raise ValueError("a git address has no blanks around it")
    if url.startswith("-"):
        raise ValueError("a git address does not start with '-'")
    if _HELPER.match(url):
        raise ValueError(f"the transport of a git address is one of {', '.join(TRANSPORTS)}")
    scheme = _SCHEME.match(url)
    if scheme:
        _check_scheme_url(*scheme.groups())
    else:
        _check_short_form(url)


def _check_scheme_url(scheme: str, rest: str) -> None:
    if scheme not in TRANSPORTS:
        raise ValueError(f"the transport of a git address is one of {', '.join(TRANSPORTS)}, not {scheme!r}")
    if scheme == "file":
        if not rest.startswith("/"):
            raise ValueError("a git address of a local repository is file:/// and an absolute path")
        return
    authority, _, path = rest.partition("/")
    user, at, location = authority.rpartition("@")
    # A password may hold a '/', so an '@' anywhere can mean one.
    if "@" in rest and scheme != "ssh":
        raise ValueError(
            "a git address carries no user name or password; give them as 'username' and 'password'"
        )
    if at and ":" in user:
        raise ValueError("a git address carries no password; ssh takes a key ('ssh_key_file')")
    if at and not _USER.match(user):
        raise ValueError("what stands before the '@' of a git address is not a user name for ssh")
    host, port = _split_port(location)
    if not _HOST.match(host):
        raise ValueError("a git address names a host, which has letters, digits, '-' and '.'")
    if port is not None and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError("the port of a git address is a number from 1 to 65535")
    if not path.strip("/") or path.startswith("-"):
        raise ValueError("a git address names a repository after the host")
    if scheme in ("https", "http") and ("?" in path or "#" in path):
        raise ValueError("a git address has no '?' or '#'; give 'version' and 'workdir' instead")


def _check_short_form(url: str) -> None:
    match = _SCP.match(url)
    if not match:
        raise ValueError(
            "a git address starts with its transport; a local repository is file:/// and an absolute path"
        )
    user, host, path = match.group("user", "host", "path")
    if host.lower() in TRANSPORTS:
        raise ValueError(f"write {host}:// at the start of the git address")
    if "@" in path:
        raise ValueError("a git address carries no password; ssh takes a key ('ssh_key_file')")
    if user is not None and not _USER.match(user):
        raise ValueError("what stands before the '@' of a git address is not a user name for ssh")
    if not _HOST.match(host):
        raise ValueError("a git address names a host, which has letters, digits, '-' and '.'")
    if not path.strip("/") or path.startswith("-"):
        raise ValueError("a git address names a repository after the host")


def _split_port(location: str) -> tuple[str, Optional[str]]:
    if location.startswith("["):
        host, bracket, rest = location.partition("]")
        return host + bracket, rest.removeprefix(":") if rest else None
    host, colon, port = location.partition(":")
    return host, port if colon else None


def transport(url: str) -> str:
    """The transport of a checked address, one of ``TRANSPORTS``."""
    match = _SCHEME.match(url)
    return match.group(1) if match else "ssh"


def host_and_port(url: str) -> Optional[tuple[str, int]]:
    """The host of an address and the port that git connects to, ``None`` for a local repository.

    Addresses that git's configuration puts in place of a checked one are read, too.
    """
    scheme = _SCHEME.match(url)
    if scheme is None:
        match = _SCP.match(url)
        return (match.group("host").strip("[]"), _PORTS["ssh"]) if match else None
    if scheme.group(1) not in _PORTS:
        return None
    location = scheme.group(2).partition("/")[0].rpartition("@")[2]
    host, port = _split_port(location)
    return host.strip("[]"), int(port) if port and port.isdecimal() else _PORTS[scheme.group(1)]


def ssh_place(url: str) -> tuple[str, Optional[str], str]:
    """Where a checked ssh address leads: ``[user@]host`` and the port as ssh has them, and the path there."""
    scheme = _SCHEME.match(url)
    if scheme is None:
        match = _SCP.match(url)
        assert match is not None
        user, host, path = match.group("user", "host", "path")
        port = None
    else:
        authority, slash, rest = scheme.group(2).partition("/")
        user, _, location = authority.rpartition("@")
        host, port = _split_port(location)
        # As git has it: what begins with a home folder is not below the root.
        path = rest if rest.startswith("~") else slash + rest
    return f"{user}@{host.strip('[]')}" if user else host.strip("[]"), port or None, path


def credential_scope(url: str) -> Optional[str]:
    """``scheme://host[:port]`` of a checked http or https address: where its password may go."""
    if transport(url) not in ("https", "http"):
        return None
    return "/".join(url.split("/", 3)[:3])


def join(parent: str, child: str) -> str:
    """The address of a submodule: ``child``, resolved against ``parent`` where it is relative.

    The rule is that of git-submodule(1): ``../`` takes one component off ``parent``. The result
    is not yet checked. Raises ``ValueError`` where there are too many of them.
    """
    if not child.startswith(("./", "../")):
        return child
    base, separator = parent.rstrip("/"), "/"
    while child.startswith(("./", "../")):
        step, _, child = child.partition("/")
        if step == ".":
            continue
        head, slash, _ = base.rpartition("/")
        if not slash:
            head, slash, _ = base.rpartition(":")
        if not head:
            raise ValueError(f"the submodule's address leads above {parent}")
        base, separator = head, slash
    return f"{base}{separator}{child}".rstrip("/")
