# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""``image-builder inspect REF``."""

from __future__ import annotations

from typing import Annotated

import typer

from image_builder.commands.arguments import AsJson

Reference = Annotated[
    str, typer.Argument(metavar="REF", help="The image, such as registry.example.org/team/app:1.2.")
]


def inspect(reference: Reference, as_json: AsJson = False) -> None:
    """Show what a registry holds.

    Prints digests, platforms, annotations with the input hash, and attestations. Your own
    Docker login gives access, where one is needed.
    """
    from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_image
    from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import RegistryError
    from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.registry_image import (
        describe,
    )
    from rich.console import Console

    from image_builder.terminal import tables
    from image_builder.terminal.ending import explained, print_json

    with explained(as_json=as_json):
        found = describe(*accept_image(reference))
        if not found["exists"]:
            raise RegistryError(
                "manifest_unknown",
                f"The registry does not hold {found['reference']}.",
                hint="Check its name and tag.",
            )
        if as_json:
            print_json({**found, "error": None})
        else:
            tables.show_manifest(Console(highlight=False), found)
