# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How the secrets of a document are found while it is checked, and read afterwards."""

from __future__ import annotations

import io
import os
import select
import time
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Callable, Optional

from ..policy import PERMISSIVE, Policy
from ..secret import Secret, SecretForm, SecretReference
from .faults import Faults

#: Gives the text of a secret. Raises ``ValueError`` with a sentence that names its place, never its content.
Reader = Callable[[SecretReference], str]

# Programs get secrets in environment variables, which Linux limits to 128 KiB each (MAX_ARG_STRLEN).
_LONGEST_SECRET_BYTES = 120_000
_READ_SECONDS = 10.0
_FORMS: Mapping[SecretForm, str] = {"text": "text", "env": "{env: NAME}", "file": "{file: PATH}"}


def refer_to_secret(
    faults: Faults, path: str, value: Any, *, lines: bool = False
) -> Optional[SecretReference]:
    """Note the secret that a document gives at ``path`` in one of its forms; nothing is read.

    ``lines`` allows it several lines.
    """
    form = _form_of(value)
    if value is None:
        return None
    if form is None:
        faults.add(path, "give text, {env: NAME} or {file: PATH}")
        return None
    reference = SecretReference(path, *form, lines)
    if reference.form == "text":
        _check_text(faults, reference, reference.name)
    faults.secrets.append(reference)
    return reference


def _form_of(value: Any) -> Optional[tuple[SecretForm, str]]:
    if isinstance(value, Secret):
        return "text", value.reveal()
    if isinstance(value, str):
        return "text", value
    if isinstance(value, Mapping) and len(value) == 1:
        ((form, name),) = value.items()
        if form in ("env", "file") and isinstance(name, str) and name and "\0" not in name:
            return form, name
    return None


def reader(policy: Policy = PERMISSIVE) -> Reader:
    """Reads secrets on this machine, in the forms that ``policy`` allows. The one place that asks which."""

    def read(reference: SecretReference) -> str:
        if reference.form not in policy.secret_forms:
            allowed = " or ".join(words for form, words in _FORMS.items() if form in policy.secret_forms)
            hint = f"give {allowed}" if allowed else "leave it out"
            raise ValueError(f"a secret as {_FORMS[reference.form]} is not allowed here; {hint}")
        if reference.form == "env":
            return _read_variable(reference.name)
        return _read_file(reference.name) if reference.form == "file" else reference.name

    return read


def read_secrets(faults: Faults, secrets: Iterable[SecretReference], read: Reader) -> dict[str, Secret]:
    """The ``secrets`` that ``read`` gives, by their paths; what is wrong is added to ``faults``."""
    found = {}
    for reference in secrets:
        text = faults.attempt(reference.path, read, reference)
        if text is None:
            continue
        # Text was checked with the document.
        if reference.form != "text":
            _check_text(faults, reference, text)
        found[reference.path] = Secret(text)
    return found


def secrets_in(checked: Any) -> tuple[Secret, ...]:
    """Every secret in ``checked``, any part of a document, and each login as programs put it together."""
    if isinstance(checked, Secret):
        return (checked,)
    if isinstance(checked, Mapping):
        return tuple(secret for item in checked.values() for secret in secrets_in(item))
    if isinstance(checked, tuple):
        return tuple(secret for item in checked for secret in secrets_in(item))
    if not is_dataclass(checked) or isinstance(checked, type):
        return ()
    username, password = getattr(checked, "username", None), getattr(checked, "password", None)
    login = (Secret(f"{username}:{password.reveal()}"),) if username and password is not None else ()
    return (*login, *secrets_in(tuple(getattr(checked, item.name) for item in fields(checked))))


def _check_text(faults: Faults, reference: SecretReference, text: str) -> None:
    path = reference.path
    if not text:
        faults.add(path, "must not be empty")
    elif faults.usable(path, text, lines=reference.lines, longest=_LONGEST_SECRET_BYTES) and (
        len(text.encode()) > _LONGEST_SECRET_BYTES
    ):
        faults.add(path, f"must not be longer than {_LONGEST_SECRET_BYTES} bytes")


def _read_variable(name: str) -> str:
    try:
        return os.environ[name]
    except (KeyError, UnicodeError):
        raise ValueError(f"the environment variable {name} is not set") from None


def _read_file(name: str) -> str:
    """The text of a file. One line end at its end does not count."""
    try:
        # As Python reads text files: every line ends in a line feed.
        content = _content(os.path.expanduser(name))
        if len(content) > _LONGEST_SECRET_BYTES + len("\r\n"):
            raise ValueError(f"the file {name} is longer than {_LONGEST_SECRET_BYTES} bytes")
        text = io.StringIO(content.decode(), newline=None).getvalue()
    except UnicodeError:
        raise ValueError(f"the file {name} cannot be read: it is not UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"the file {name} cannot be read: {error.strerror or error}") from None
    return text[:-1] if text.endswith("\n") else text


def _content(path: str) -> bytes:
    """What is in the file, or comes out of the pipe, at ``path``, up to a limit of size and time."""
    deadline = time.monotonic() + _READ_SECONDS
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        waiting = select.poll()
        waiting.register(handle, select.POLLIN)
        content = b""
        while len(content) <= _LONGEST_SECRET_BYTES + len("\r\n"):
            if not waiting.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise TimeoutError(f"nothing came within {_READ_SECONDS:g} seconds")
            part = os.read(handle, _LONGEST_SECRET_BYTES)
            if not part:
                break
            content += part
        return content
    finally:
        os.close(handle)
