# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""``image-builder deploy INPUT``."""

from __future__ import annotations

import typer

from image_builder.commands.arguments import Input


def deploy(path: Input) -> None:
    """Do the same through opera, preparing this machine.

    Sets up what the machine lacks (an engine, a local registry, sample base images), then deploys the
    blueprint with the document as its inputs.
    """
    from rich.console import Console

    from image_builder.documents import read
    from image_builder.playbooks import opera, set_up
    from image_builder.playbooks.scratch import scratch
    from image_builder.terminal import tables
    from image_builder.terminal.ending import FAILED, explained, print_error

    console = Console(highlight=False)
    with explained():
        content = read.read(path)
        document = read.accepted(content, path)
        show = tables.Steps(console)
        with scratch() as folder:
            set_up.prepare(document, folder, show)
            show(f"Deploying {path}")
            outcome = opera.deploy(content.data, folder, show)
        if outcome.images:
            tables.show_images(console, outcome.images)
        if outcome.error:
            print_error(outcome.error)
            raise typer.Exit(FAILED)
