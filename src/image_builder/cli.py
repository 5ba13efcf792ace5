# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The command line ``image-builder``."""

from __future__ import annotations

import typer

from image_builder.commands import build, convert, deploy, engine, inspect, plan

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
app.command()(build.build)
app.command()(plan.plan)
app.command()(deploy.deploy)
app.command()(convert.convert)
app.command()(inspect.inspect)
app.add_typer(engine.app, name="engine")


def main() -> None:
    """Run the command that the program's arguments name; ends with ``SystemExit``."""
    app(prog_name="image-builder")
