# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The command line ``image-builder``."""

from __future__ import annotations

import sys

import typer

from image_builder.commands.build import build
from image_builder.commands.convert import convert
from image_builder.commands.deploy import deploy
from image_builder.commands.engine import app as engine
from image_builder.commands.inspect import inspect
from image_builder.commands.plan import plan
from image_builder.terminal.output import OutputError, mark_failures

app = typer.Typer(
    name="image-builder",
    help="Builds container images for several platforms from one document, and pushes them.",
    epilog="Exit status: 0 done, 1 a failure, 2 wrong input, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    # Typer's tracebacks print the values of variables, and passwords are among them.
    pretty_exceptions_enable=False,
)
app.command()(build)
app.command()(plan)
app.command()(deploy)
app.command()(convert)
app.command()(inspect)
app.add_typer(engine, name="engine")


def main() -> None:
    """Run the command that the program's arguments name; ends with ``SystemExit``."""
    mark_failures()
    try:
        app(prog_name="image-builder")
    except OutputError as error:
        # Of help, or of an error: what a command prints else fails within the command.
        from image_builder.terminal.ending import tell_unwritten

        sys.exit(tell_unwritten(error))
