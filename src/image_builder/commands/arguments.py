# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

#: The document. That it can be read is checked with the other arguments.
Input = Annotated[
    Path,
    typer.Argument(
        metavar="INPUT",
        help="The document, a YAML or JSON file.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]
