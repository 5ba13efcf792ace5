# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""``image-builder convert PATH…``, and ``json_to_yaml.py``, which is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Paths = Annotated[list[Path], typer.Argument(metavar="PATH", help="Files, or folders of files.", exists=True)]
To = Annotated[
    Literal["yaml", "json"] | None,
    typer.Option(
        help="The format wanted. Without it a file becomes the other one, and a folder's JSON becomes YAML."
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder for the result. Without it: beside the original.", file_okay=False
    ),
]


def convert(paths: Paths, to: To = None, output: Output = None) -> None:
    """Convert documents from JSON to YAML, or back.

    Takes files and whole folders, and keeps the order of what they hold. Comments stay behind. A file is
    never overwritten.
    """
    from ansible_collections.sodalite.image_builder.plugins.module_utils.text import printable

    from image_builder.documents import convert
    from image_builder.terminal.ending import explained

    with explained():
        for done in convert.convert(paths, to, output):
            typer.echo(printable(f"{done.source} -> {done.target}"))
