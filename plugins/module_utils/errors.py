# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What can go wrong, as one small tree.

Every error carries what a person needs (one sentence on what happened and one on
what to do) and what a program needs (a code, the phase, the place).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional, TypeVar

from .text import excerpt, numbered, printable_data, printable_lines

_Error = TypeVar("_Error", bound="BuilderError")


@dataclass(frozen=True)
class Place:
    """What an error concerns.

    ``image`` is the target reference, ``platform`` such as ``linux/arm64``, ``file`` and ``line`` the place
    in the user's own document or Dockerfile.
    """

    image: Optional[str] = None
    platform: Optional[str] = None
    file: Optional[str] = None
    line: Optional[int] = None


class BuilderError(Exception):
    """A failure that is explained to the user.

    ``code`` is a stable lower-case word with underscores, ``phase`` one of
    ``parameters``, ``fetch``, ``plan``, ``build``, ``report``, ``engine`` and ``machine``.
    ``image``, ``platform``, ``file`` and ``line`` are those of its ``place``, where they are known.
    ``retryable`` says whether the same request can succeed later without a change.
    ``excerpt`` are the lines of the file around ``line``, the first of which is ``excerpt_first``.
    """

    phase = "build"
    excerpt: tuple[str, ...] = ()
    excerpt_first = 0

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        place: Place = Place(),
        retryable: bool = False,
        phase: Optional[str] = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.image = place.image
        self.platform = place.platform
        self.file = place.file
        self.line = place.line
        self.retryable = retryable
        if phase is not None:
            self.phase = phase

    def copy(self: _Error) -> _Error:
        """The same error, to be given another place."""
        other = type(self).__new__(type(self), *self.args)
        other.args = self.args
        vars(other).update(vars(self))
        return other

    def show(self, text: str) -> None:
        """Tell of the lines around ``line`` what they are. ``text`` is that of the whole file."""
        if self.line is not None:
            self.excerpt_first, self.excerpt = excerpt(text, self.line)

    def change_texts(self, change: Callable[[str], str]) -> None:
        """Put ``change`` of them in the place of all texts that tell what happened and what to do."""
        for name, value in vars(self).items():
            if name in ("code", "phase", "image", "platform"):
                continue
            if isinstance(value, str):
                setattr(self, name, change(value))
            elif isinstance(value, (list, tuple)):
                setattr(self, name, type(value)(_changed(x, change) for x in value))
        self.args = (self.message,)

    def __str__(self) -> str:
        return "\n".join([self.sentence(), *self.details()])

    def sentence(self) -> str:
        """Where, what happened and what to do, without the ``details``."""
        place = ", ".join(
            part
            for part in (
                f"image {self.image}" if self.image else "",
                f"platform {self.platform}" if self.platform else "",
                self._location(),
            )
            if part
        )
        text = f"{place}: {self._said()}" if place else self._said()
        return printable_lines(f"{text} {self.hint}" if self.hint else text)

    def details(self) -> list[str]:
        """Lines that show what the sentence tells of, fit to be read."""
        return [f"  {line}" for line in self.shown_lines()]

    def shown_lines(self) -> list[str]:
        """The excerpt, its lines numbered and that of the error marked."""
        return numbered(self.excerpt, self.excerpt_first, self.line or 0)

    def _said(self) -> str:
        return self.message

    def _location(self) -> str:
        if self.file and self.line:
            return f"{self.file} line {self.line}"
        if self.line:
            return f"line {self.line}"
        return self.file or ""

    def to_dict(self) -> dict[str, Any]:
        """The error for programs: a flat mapping with every field, unknown ones ``None``.

        Its texts steer no terminal that shows them (see ``printable``).
        """
        fields = {
            "code": self.code,
            "phase": self.phase,
            "message": self.message,
            "hint": self.hint,
            "image": self.image,
            "platform": self.platform,
            "file": self.file,
            "line": self.line,
            "excerpt": self.shown_lines(),
            "retryable": self.retryable,
        }
        return {name: printable_data(value) for name, value in fields.items()}


# Whoever has more corrects these first.
_MOST_FAULTS = 100


class ParameterError(BuilderError):
    """The document is wrong. ``faults`` has every fault as ``path: what is wrong``, ``message`` how many."""

    phase = "parameters"

    def __init__(self, faults: list[str]) -> None:
        told = list(dict.fromkeys(faults))
        count = len(told)
        what = "one fault" if count == 1 else f"{count} faults"
        if count > _MOST_FAULTS:
            told[_MOST_FAULTS:] = [f"and {count - _MOST_FAULTS} more"]
        self.faults = told
        super().__init__("invalid_parameters", f"The document has {what}.")

    def _said(self) -> str:
        return f"{self.message[:-1]}: {'; '.join(self.faults)}."

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "faults": printable_data(self.faults)}


class SourceError(BuilderError):
    """The source could not be fetched, or does not hold what the document names."""

    phase = "fetch"


class DockerfileError(BuilderError):
    """The Dockerfile cannot be read, or an override does not fit it."""

    phase = "plan"


class RegistryError(BuilderError):
    """A registry refused, did not answer, or does not hold what was asked for.

    ``status`` is the HTTP status, or ``None`` where there was no answer.
    """

    phase = "plan"

    def __init__(self, code: str, message: str, *, status: Optional[int] = None, **fields: Any) -> None:
        super().__init__(code, message, **fields)
        self.status = status


class EngineError(BuilderError):
    """There is no Docker Engine or builder that can do the work."""

    phase = "engine"


class MachineError(BuilderError):
    """A machine could not be set up: a package, a service or an emulator is missing or refuses."""

    phase = "machine"


class BuildError(BuilderError):
    """BuildKit could not build or push an image.

    ``output`` are the last lines that the failed step printed.
    """

    phase = "build"
    output: tuple[str, ...] = ()

    def details(self) -> list[str]:
        """The excerpt, and what the step printed."""
        if not self.output:
            return super().details()
        printed = printable_lines("\n".join(self.output)).split("\n")
        return [*super().details(), "Its last output was:", *(f"  {line}" for line in printed)]

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "output": printable_data(self.output)}


class ImagesFailed(BuildError):
    """``count`` images failed. Each of ``parts`` is the error of those that failed alike."""

    def __init__(self, count: int, parts: tuple[BuilderError, ...]) -> None:
        self._begin = f"{count} images failed."
        told = (f"({number}) {part.sentence().rstrip('.')}." for number, part in enumerate(parts, 1))
        retryable = all(part.retryable for part in parts)
        super().__init__("images_failed", " ".join((self._begin, *told)), retryable=retryable)
        self.parts = parts

    def __str__(self) -> str:
        if len(self.parts) == 1:
            return "\n".join([f"{self._begin[:-1]}: {self.parts[0].sentence()}", *self.parts[0].details()])
        told = [self._begin]
        shown: list[list[str]] = []
        for number, part in enumerate(self.parts, 1):
            excerpt, details = part.shown_lines(), part.details()
            # Lines of the Dockerfile that several failures are about are shown once.
            told += [f"({number}) {part.sentence()}", *details[len(excerpt) if excerpt in shown else 0 :]]
            shown.append(excerpt)
        return "\n".join(told)

    def to_dict(self) -> dict[str, Any]:
        outputs = [part.output if isinstance(part, BuildError) else () for part in self.parts]
        return {
            **super().to_dict(),
            "excerpt": self._by_number([part.shown_lines() for part in self.parts]),
            "output": printable_data(self._by_number(outputs)),
        }

    def _by_number(self, lists: Sequence[Sequence[str]]) -> list[str]:
        if len(lists) == 1:
            return list(lists[0])
        return [f"({number}) {line}" for number, lines in enumerate(lists, 1) for line in lines]


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, BuilderError):
        value.change_texts(change)
    return change(value) if isinstance(value, str) else value


def from_os_error(error: OSError, phase: str = BuilderError.phase) -> BuilderError:
    """The error for what the operating system refused in ``phase``, such as a full disk."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BuilderError(
            "disk_full",
            f"The disk is full{where}.",
            hint="Free space."
            if phase == MachineError.phase
            else "Free space, or name another folder as custom_workdir.",
            retryable=True,
            phase=phase,
        )
    message = f"{error.strerror or error}{where}."
    return BuilderError("system_error", message, hint="Check the machine.", phase=phase)


class Cancelled(BuilderError):
    """The work was interrupted: by a signal, a time limit, or the end of the program that asked for it."""

    def __init__(
        self, message: str = "The build was cancelled.", code: str = "cancelled", hint: str = ""
    ) -> None:
        super().__init__(code, message, hint=hint)
