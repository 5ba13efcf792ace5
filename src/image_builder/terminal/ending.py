# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How a command ends: its exit status, and one readable message for what went wrong."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import typer
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import (
    BuilderError,
    Cancelled,
    ParameterError,
    from_os_error,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.process import cancellable
from ansible_collections.sodalite.image_builder.plugins.module_utils.text import printable_lines
from rich.console import Console
from rich.text import Text

from image_builder.terminal.output import OutputError
from image_builder.terminal.tables import print_text

_NOTHING_LEFT = "No process or workspace is left; what was pushed before stays in the registry."
FAILED, WRONG_INPUT, CANCELLED = 1, 2, 130


@contextmanager
def explained(*, as_json: bool = False) -> Iterator[None]:
    """Do a command's work inside. Its errors are printed and end the program, never with a traceback.

    Signals end the work in order. ``as_json`` prints the error on standard output too.
    """
    try:
        with cancellable():
            yield
    except BuilderError as error:
        raise _ended(error, as_json) from None
    except OutputError as error:
        raise typer.Exit(tell_unwritten(error)) from None
    except OSError as error:
        raise _ended(from_os_error(error), as_json) from None


def tell_unwritten(error: OutputError) -> int:
    """Say why standard output takes nothing more, unless its reader went away; gives the exit status."""
    if error.errno != errno.EPIPE:
        print_error(f"Standard output takes nothing more: {error.strerror}. Make room, or send it elsewhere.")
    return FAILED


def print_error(message: str) -> None:
    """Print ``message`` on standard error. Its text is never taken for markup."""
    errors = Console(stderr=True, highlight=False)
    print_text(errors, Text.assemble(("error: ", "bold red"), printable_lines(message)))


def print_json(content: Mapping[str, Any]) -> None:
    """Print ``content`` for a program, on standard output."""
    typer.echo(json.dumps(content, indent=2))


def _ended(error: BuilderError, as_json: bool) -> typer.Exit:
    if as_json:
        # It is told below, too.
        with suppress(OutputError):
            print_json({"error": error.to_dict()})
    return typer.Exit(tell(error))


def tell(error: BuilderError) -> int:
    """Say on standard error what went wrong; gives the exit status."""
    if isinstance(error, ParameterError):
        for fault in error.faults:
            print_error(fault)
        return WRONG_INPUT
    if isinstance(error, Cancelled) and error.code == "cancelled":
        print_text(Console(stderr=True), Text(printable_lines(f"Interrupted. {error.hint or _NOTHING_LEFT}")))
        return CANCELLED
    print_error(str(error))
    return FAILED
