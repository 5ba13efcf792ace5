# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""``image-builder plan INPUT``."""

from __future__ import annotations

import typer

from image_builder.commands.arguments import AsJson, Input


def plan(path: Input, as_json: AsJson = False) -> None:
    """Show what "build" would do, and why.

    Lists each image with its base images and their digests. Nothing is built or pushed.
    """
    from ansible_collections.sodalite.image_builder.plugins.module_utils.operations import request
    from rich.console import Console

    from image_builder.documents import read
    from image_builder.playbooks.sample import make_named_sample
    from image_builder.terminal import tables
    from image_builder.terminal.ending import FAILED, explained, print_error, print_json
    from image_builder.terminal.live import shown

    with explained(as_json=as_json):
        document = read.load(path)
        make_named_sample(document)
        with shown(Console(stderr=True, highlight=False)) as listener:
            planned = request.carry_out(document, listener, plan_only=True)
        error = planned.error
        if as_json:
            print_json({**planned.to_dict(), "error": error.to_dict() if error else None})
        else:
            tables.show_plan(Console(highlight=False), planned.to_dict()["images"])
        if error is not None:
            print_error(str(error))
            raise typer.Exit(FAILED)
