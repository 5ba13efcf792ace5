# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Whether each instruction of a Dockerfile has the form that BuildKit takes.

Judged is what BuildKit refuses before it looks at a stage, be it needed or not: unknown instructions and
flags, and arguments of another number or kind. Where its releases differ, what any of them takes is taken.

Rules: BuildKit's ``frontend/dockerfile/instructions`` package, ``parse.go`` and ``bflag.go``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Optional

from ..errors import DockerfileError
from .mounts import mount_fields
from .parser import BLANKS, Instruction, is_heredoc, json_array, quoted_words, syntax_error
from .shell import SPACE, shown

# What may be a slip of somebody who writes a Dockerfile. All else is not repeated: whoever names a file that
# is none is not to be told what it holds.
_LIKE_AN_INSTRUCTION = re.compile(r"(?:[A-Za-z]{1,16}|[^A-Za-z0-9]{1,3})\Z")

_BOOLEAN, _ONE, _MANY = range(3)
_NO_FLAGS: Mapping[str, int] = {}
_FLAGS: Mapping[str, Mapping[str, int]] = {
    "add": {
        **dict.fromkeys(("chown", "chmod", "checksum"), _ONE),
        **dict.fromkeys(("link", "keep-git-dir", "unpack"), _BOOLEAN),
        "exclude": _MANY,
    },
    "copy": {
        **dict.fromkeys(("from", "chown", "chmod"), _ONE),
        **dict.fromkeys(("link", "parents"), _BOOLEAN),
        "exclude": _MANY,
    },
    "from": {"platform": _ONE},
    "healthcheck": dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), _ONE),
    "run": {"mount": _MANY, "device": _MANY, "network": _ONE, "security": _ONE},
}
# BuildKit passes over the flags of these.
_FLAGS_IGNORED = frozenset({"arg", "stopsignal"})
_VALUES = {"network": ("default", "none", "host"), "security": ("sandbox", "insecure")}
# Go's time.ParseDuration.
_DURATION = re.compile(r"[+-]?(?:0|(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)\Z")
_RETRIES = re.compile(r"\+?[0-9]+\Z")
_MOUNT_SWITCHES = ("readonly", "ro", "readwrite", "rw", "required")
_MOUNT_OPTIONS = (
    *("type", "from", "source", "src", "target", "dst", "destination", "size", "id", "sharing", "mode"),
    *("uid", "gid", "env", *_MOUNT_SWITCHES),
)
_MOUNT_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_EXPANDED = re.compile("[$'\"\\\\`\ufeff]")
_UNTRIGGERED = ("onbuild", "maintainer", "from")


def fault_of(instruction: Instruction, escape: str) -> Optional[DockerfileError]:
    """Why BuildKit refuses ``instruction``, with its line, or ``None`` where it does not.

    ``escape`` is the escape character in force.
    """
    try:
        _check(instruction, escape)
    except _Malformed as fault:
        return syntax_error(f"{fault.message}.", fault.hint, instruction.line)
    return None


def fault_where_used(instruction: Instruction, escape: str) -> Optional[DockerfileError]:
    """Why BuildKit refuses ``instruction`` in a stage that a build needs, or ``None`` where it does not.

    That is the options of RUN --mount. Values that are expanded, or quoted, are left for BuildKit.
    """
    try:
        for mount in instruction.flag_values("mount") if instruction.keyword == "run" else ():
            for key, equals, value in mount_fields(mount) or []:
                _check_mount_option(key, equals, value)
    except _Malformed as fault:
        return syntax_error(f"{fault.message}.", fault.hint, instruction.line)
    return None


def _check_mount_option(key: str, equals: bool, value: str) -> None:
    if not equals and key not in _MOUNT_SWITCHES:
        name = shown(key) or "(empty)"
        raise _Malformed(f"The option {name} of --mount has no value", "Write option=value.")
    if key not in _MOUNT_OPTIONS:
        raise _unknown("option of --mount", key, _MOUNT_OPTIONS)
    if key == "type" and not _EXPANDED.search(value) and value.lower() not in _MOUNT_TYPES:
        raise _unknown("type of --mount", value, _MOUNT_TYPES)


class _Malformed(Exception):
    """What is wrong, without the full stop, and what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def _check(instruction: Instruction, escape: str) -> None:
    keyword = instruction.keyword
    check = _CHECKS.get(keyword)
    if check is None:
        raise _unknown("instruction", keyword.upper(), [name.upper() for name in _CHECKS])
    if keyword not in _FLAGS_IGNORED and not (keyword == "healthcheck" and _is_none(instruction.args)):
        _check_flags(instruction)
    check(instruction, escape)


def _unknown(what: str, name: str, names: Sequence[str]) -> _Malformed:
    near = difflib.get_close_matches(name[:40], names, 1)
    known = ", ".join(sorted(names))
    hint = f"Did you mean {near[0]}?" if near else f"Known are {known}." if known else "Leave it out."
    if what == "instruction" and not _LIKE_AN_INSTRUCTION.match(name):
        return _Malformed("The line begins with no instruction", hint)
    return _Malformed(f"The {what} {shown(name) or '(empty)'} is unknown", hint)


def _check_flags(instruction: Instruction) -> None:
    known = _FLAGS.get(instruction.keyword, _NO_FLAGS)
    used: set[str] = set()
    for flag in instruction.flags:
        name, equals, value = flag[2:].partition("=")
        if name not in known:
            flags = [f"--{other}" for other in known]
            raise _unknown(f"flag of {instruction.keyword.upper()}", f"--{name}", flags)
        kind = known[name]
        if name in used and kind != _MANY:
            raise _Malformed(f"The flag --{name} is given twice", "Keep one of them.")
        used.add(name)
        if (kind != _BOOLEAN and not equals) or (kind == _BOOLEAN and equals and not value):
            raise _Malformed(f"The flag --{name} has no value", f"Write --{name}=value.")
        if kind == _BOOLEAN and value.lower() not in ("", "true", "false"):
            raise _Malformed(f"The flag --{name} is {shown(value)}", "It can be true or false.")
        if name in _VALUES and value not in _VALUES[name]:
            raise _Malformed(
                f"The flag --{name} is {shown(value)}", f"It can be {' or '.join(_VALUES[name])}."
            )


def _check_pairs(instruction: Instruction, escape: str) -> None:
    keyword = instruction.keyword.upper()
    words = quoted_words(instruction.args, escape)
    hint = f"Write {keyword} NAME=value, with quotes around a value that has blanks."
    if not words:
        raise _Malformed(f"{keyword} names nothing", hint)
    if "=" not in words[0]:
        if len(BLANKS.split(instruction.args, 1)) < 2:
            raise _Malformed(f"{keyword} gives {shown(words[0])} no value", hint)
        return
    for word in words:
        if "=" not in word:
            raise _Malformed(f"{shown(word)} in {keyword} is not of the form NAME=value", hint)


def _check_named_pairs(instruction: Instruction, escape: str) -> None:
    _check_pairs(instruction, escape)
    words = quoted_words(instruction.args, escape)
    nameless = [word for word in words if word.startswith("=")] if "=" in words[0] else []
    if nameless:
        keyword = instruction.keyword.upper()
        raise _Malformed(
            f"{keyword} does not name what {shown(nameless[0])} is for", f"Write {keyword} NAME=value."
        )


def _check_arguments(instruction: Instruction, escape: str) -> None:
    words = quoted_words(instruction.args, escape)
    if not words or any(word.startswith("=") for word in words):
        raise _Malformed("ARG does not name a variable", "Write ARG NAME or ARG NAME=default.")


def _check_copy(instruction: Instruction, escape: str) -> None:
    keyword = instruction.keyword.upper()
    words = _list(instruction)
    if len(words) < 2:
        raise _Malformed(f"{keyword} does not say what to copy where", f"Write {keyword} source destination.")
    if is_heredoc(words[-1]):
        raise _Malformed(f"{keyword} has a heredoc as its destination", "Name the destination behind it.")


def _check_some(instruction: Instruction, escape: str) -> None:
    keyword = instruction.keyword.upper()
    words = _list(instruction) if keyword == "VOLUME" else _words(instruction.args)
    if not words or not all(word.strip(SPACE) for word in words):
        raise _Malformed(f"{keyword} names nothing", "Name something behind it, or leave it out.")


def _check_one(instruction: Instruction, escape: str) -> None:
    if not instruction.args:
        raise _Malformed(
            f"{instruction.keyword.upper()} names nothing", "Name something behind it, or leave it out."
        )


def _check_command(instruction: Instruction, escape: str) -> None:
    _texts(instruction.args)
    for mount in instruction.flag_values("mount") if instruction.keyword == "run" else ():
        if mount_fields(mount) is None:
            raise _Malformed(f"The quotes of --mount={shown(mount)} do not fit", "Quote a whole option.")


def _check_shell(instruction: Instruction, escape: str) -> None:
    if not _texts(instruction.args):
        raise _Malformed("SHELL is no JSON array", 'Write it as in SHELL ["/bin/sh", "-c"].')


def _check_healthcheck(instruction: Instruction, escape: str) -> None:
    kind, rest = _first_word(instruction.args)
    command = _texts(rest)
    hint = "Write HEALTHCHECK CMD command, or HEALTHCHECK NONE."
    if kind.upper() == "NONE":
        if rest:
            raise _Malformed("HEALTHCHECK NONE takes no arguments", hint)
        return
    if kind.upper() != "CMD" or not (rest if command is None else command):
        raise _Malformed("HEALTHCHECK has no command", hint)
    for name in _FLAGS["healthcheck"]:
        for value in filter(None, instruction.flag_values(name)):
            if name == "retries":
                if not _RETRIES.match(value) or len(value) > 10 or int(value) >= 1 << 31:
                    raise _Malformed(f"The flag --retries is {shown(value)}", "Give it a whole number.")
            elif not _DURATION.match(value) or (value.startswith("-") and value.strip("-0.nuµμmsh")):
                raise _Malformed(f"The flag --{name} is {shown(value)}", "Give it a duration, as in 1m30s.")


def _check_onbuild(instruction: Instruction, escape: str) -> None:
    if not instruction.args:
        raise _Malformed("ONBUILD holds no instruction", "Put one behind it.")
    inner = instruction.inner()
    if inner.keyword in _UNTRIGGERED:
        raise _Malformed(f"ONBUILD cannot hold {inner.keyword.upper()}", "Put another instruction behind it.")
    if inner.keyword in ("env", "label"):
        # A name that is missing is found where the trigger acts.
        if inner.args:
            _check_pairs(inner, escape)
    elif inner.keyword in ("run", "cmd", "entrypoint", "shell", "copy", "add", "volume"):
        _texts(inner.args)


def _check_nothing(instruction: Instruction, escape: str) -> None:
    """FROM is read, and judged, by ``instructions``."""


def _texts(args: str) -> Optional[list[str]]:
    """The texts of a JSON array; ``None`` where ``args`` is none."""
    values = json_array(args)
    if values is None:
        return None
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) < len(values):
        raise _Malformed("The JSON array holds what is no text", "Put all its values in double quotes.")
    return texts


def _list(instruction: Instruction) -> list[str]:
    texts = _texts(instruction.args)
    return _words(instruction.args) if texts is None else texts


def _words(args: str) -> list[str]:
    return BLANKS.split(args) if args else []


def _first_word(args: str) -> tuple[str, str]:
    parts = args.split(None, 1)
    return (parts[0], parts[1] if len(parts) > 1 else "") if parts else ("", "")


def _is_none(args: str) -> bool:
    return _first_word(args)[0].upper() == "NONE"


_CHECKS: Mapping[str, Callable[[Instruction, str], None]] = {
    "add": _check_copy,
    "arg": _check_arguments,
    "cmd": _check_command,
    "copy": _check_copy,
    "entrypoint": _check_command,
    "env": _check_named_pairs,
    "expose": _check_some,
    "from": _check_nothing,
    "healthcheck": _check_healthcheck,
    "label": _check_named_pairs,
    "maintainer": _check_one,
    "onbuild": _check_onbuild,
    "run": _check_command,
    "shell": _check_shell,
    "stopsignal": _check_one,
    "user": _check_one,
    "volume": _check_some,
    "workdir": _check_one,
}
KEYWORDS = frozenset(_CHECKS)
