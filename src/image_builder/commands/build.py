# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""``image-builder build INPUT``."""

from __future__ import annotations

import typer

from image_builder.commands.arguments import AsJson, Input


def build(path: Input, as_json: AsJson = False) -> None:
    """Build the images of a document and push them.

    It builds on the engine that this machine has, without opera or Ansible. Progress goes to
    standard error: on a terminal a row for each image and platform, else plain lines.
    """
    from ansible_collections.sodalite.image_builder.plugins.module_utils.operations import request
    from rich.console import Console

    from image_builder.documents import read
    from image_builder.playbooks.sample import make_named_sample
    from image_builder.terminal import tables
    from image_builder.terminal.ending import explained, print_json, tell
    from image_builder.terminal.live import shown

    with explained(as_json=as_json):
        document = read.load(path)
        make_named_sample(document)
        with shown(Console(stderr=True, highlight=False)) as listener:
            built = request.carry_out(document, listener)
        error = built.error
        if as_json:
            print_json({**built.to_dict(), "error": error.to_dict() if error else None})
        else:
            tables.show_images(Console(highlight=False), built.to_dict()["images"])
        if error is not None:
            raise typer.Exit(tell(error))
