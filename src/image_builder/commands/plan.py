# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""``image-builder plan INPUT``."""

from __future__ import annotations

from rich.console import Console

from image_builder import inputs, report, request
from image_builder.commands.arguments import AsJson, Input
from image_builder.ending import explained, print_json
from image_builder.live import shown


def plan(path: Input, as_json: AsJson = False) -> None:
    """Show what "build" would do, and why.

    Lists each image with its base images and their digests. Nothing is built or pushed.
    """
    with explained(as_json=as_json):
        document = inputs.load(path)
        with shown(Console(stderr=True, highlight=False)) as progress:
            planned = request.carry_out(document, progress, plan_only=True).to_dict()
        if as_json:
            print_json({**planned, "error": None})
        else:
            report.show_plan(Console(highlight=False), planned["images"])
