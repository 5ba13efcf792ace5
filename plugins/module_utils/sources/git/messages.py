# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What git says when it fails, in the user's words.

git has one exit status for nearly everything, so its messages (under ``LC_ALL=C``), and
those of curl and OpenSSH behind it, are what tells one failure from another.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ...errors import SourceError
from .bounded import DiskFull, LimitPassed


class _Rule(NamedTuple):
    pattern: str
    code: str
    message: str
    hint: str
    retryable: bool = False
    again: bool = False


def _rule(
    pattern: str, code: str, message: str, hint: str, *, retryable: bool = False, again: bool = False
) -> _Rule:
    return _Rule(pattern, code, message, hint, retryable or again, again)


_ACCESS_HINT = (
    "Give 'username' and 'password' (or a token as 'password' alone) for http and https, "
    "'ssh_key_file' for ssh, and check that they may read this repository."
)

_DISK_FULL = "There is no space left for {what}."
_DISK_HINT = "Free some, or give a folder on another file system as 'custom_workdir'."

# The first rule that fits decides: causes stand before what follows from them.
_RULES = (
    _rule(
        r"no space left on device|disk quota exceeded",
        "disk_full",
        _DISK_FULL,
        _DISK_HINT,
    ),
    _rule(
        r"out of memory|malloc failed|realloc failed|cannot allocate memory|file too large|"
        r"died of signal 25|ended by signal 25",
        "source_too_large",
        "{What} holds something that takes more memory or disk than a source may.",
        "Take large files out of the repository, or keep them in Git LFS.",
    ),
    _rule(
        r"from promisor remote|lazy fetching disabled",
        "git_failed",
        "The server of {what} holds a part of it only: it is a partial clone (git clone --filter).",
        "Give the address that it was cloned from, or complete it: git fetch --refetch --no-filter.",
    ),
    _rule(
        r"remote host identification has changed",
        "ssh_host_key",
        "The ssh host key of {what} is not the one that is known.",
        "If the server was set up anew, put its new key into the known hosts file; otherwise somebody "
        "may be listening.",
    ),
    _rule(
        r"host key verification failed|no .* host key is known",
        "ssh_host_key",
        "The ssh host key of {what} is not known.",
        "Write the output of 'ssh-keyscan HOST' to a file, compare its fingerprint with the one that the "
        "host publishes, and name the file as 'ssh_known_hosts_file'.",
    ),
    _rule(
        r"unprotected private key file|bad permissions|load key .*: (?:invalid format|error in libcrypto|"
        r"incorrect passphrase)",
        "ssh_key_unusable",
        "ssh cannot use the key file for {what}.",
        "Give as 'ssh_key_file' a private key without a passphrase that only its owner can read (chmod 600).",
    ),
    _rule(
        r"server certificate verification failed|ssl certificate problem|certificate verify failed|"
        r"no alternative certificate subject name",
        "certificate_not_trusted",
        "The TLS certificate of {what} is not trusted.",
        "Have git trust its CA: git config --global http.sslCAInfo FILE, or the variable GIT_SSL_CAINFO.",
    ),
    _rule(
        r"authentication failed|could not read (?:username|password)|terminal prompts disabled|"
        r"permission denied \(|invalid username or password|returned error: 40[13]|http basic: access denied",
        "git_unauthorized",
        "Access to {what} is denied.",
        _ACCESS_HINT,
    ),
    _rule(
        r"dubious ownership",
        "git_unauthorized",
        "{What} belongs to another user, so git does not read it.",
        "Allow it: git config --global --add safe.directory PATH.",
    ),
    _rule(
        r"returned error: 404|repository .* not found|repository not found|"
        r"could not be found or you don't have|does not appear to be a git repository|no such repository|"
        r"access denied or repository not exported|project you were looking for|returned error: 410",
        "no_such_repository",
        "There is no {what}.",
        "Check the address; a private repository can look missing without 'username' and 'password'.",
    ),
    _rule(
        r"could not resolve host|unable to look up|name or service not known|"
        r"temporary failure in name resolution",
        "git_unreachable",
        "The host of {what} is not known to this machine's name service.",
        "Check the address, the network and the proxy.",
        retryable=True,
    ),
    _rule(
        r"returned error: (?:5\d\d|429|408)|connection (?:refused|reset|timed out|closed)|timed out|"
        r"operation too slow|empty reply|early eof|unexpected disconnect|hung up unexpectedly|"
        r"failed to connect|unable to connect|couldn't connect|no route to host|network is unreachable|"
        r"gnutls_handshake|ssl_error_syscall|transfer closed|http/2 stream|rpc failed|broken pipe|"
        r"connection was (?:reset|aborted)|recv failure|send failure",
        "git_unreachable",
        "The server of {what} does not answer as it should.",
        "Try again later; check the address, the network and the proxy.",
        again=True,
    ),
    _rule(
        r"returned error: 30[12378]|unable to update url base from redirection",
        "git_failed",
        "The server redirects {what} to another address, which is not followed.",
        "Give the address that it redirects to.",
    ),
    _rule(
        r"transport '.*' not allowed",
        "git_failed",
        "git's configuration leads {what} to a transport that is not allowed here.",
        "Look for url.*.insteadOf in git's configuration.",
    ),
)

_LIMIT_HINT = (
    "Build from a smaller repository; where this one is as it should be, ask those who run this machine to "
    "raise the limits of sources."
)

_NOISE = re.compile(
    r"(?:fatal|error|remote|warning|hint|ssh): *|and the repository exists\.|"
    r"Please make sure you have the correct access rights|.*Could not read from remote repository\.?"
)


def limit_passed(error: LimitPassed, what: str) -> SourceError:
    """The error for a git that was ended since it took too much."""
    if isinstance(error, DiskFull):
        return SourceError("disk_full", _DISK_FULL.format(what=what), hint=_DISK_HINT)
    return too_large(f"{what[:1].upper()}{what[1:]} takes {error}")


def too_large(clause: str) -> SourceError:
    """The error for a repository that ``clause`` says is more than it may be."""
    return SourceError("source_too_large", f"{clause}.", hint=_LIMIT_HINT)


class PassingError(SourceError):
    """A failure that may be gone in a moment, so that trying again now makes sense."""


def explain(stderr: str, what: str) -> SourceError:
    """The error that git's ``stderr`` (without secrets) means.

    ``what`` names what was fetched, such as ``the repository https://host/team/app.git``.
    """
    line = _telling_line(stderr)
    for rule in _RULES:
        if re.search(rule.pattern, stderr, re.IGNORECASE):
            message = rule.message.format(what=what, What=what[:1].upper() + what[1:])
            message = message.replace("There is no the ", "There is no ")
            if rule.code == "git_unreachable":
                message = f"{message[:-1]}: {line}."
            kind = PassingError if rule.again else SourceError
            return kind(rule.code, message, hint=rule.hint, retryable=rule.retryable)
    return SourceError("git_failed", f"git failed on {what}: {line}.", hint="Try the same with git.")


def _telling_line(stderr: str) -> str:
    """The line of git's that says what is wrong, printable; the address is in the message already."""
    printable = "\n".join(
        "".join(char if char.isprintable() else " " for char in line).strip() for line in stderr.splitlines()
    )
    # git's daemon client gives the reason on the line after.
    lines = [line for line in re.sub(r":\n+", ": ", printable).split("\n") if line]
    telling = [line for line in lines if not _NOISE.fullmatch(line)]
    fatal = [line for line in telling if line.startswith("fatal:")]
    line = (fatal[:1] or telling[-1:] or ["it gave no reason"])[0]
    return re.sub(r"^(?:fatal: |error: )|unable to access '[^']*': ", "", line).rstrip(".")
