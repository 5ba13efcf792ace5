# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One request in this process: fetched, planned, built, and nothing left behind."""

from __future__ import annotations

from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.document import Document
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import ask as engine
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Listener
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.build_images import (
    InWorkspace,
    build_images,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import PERMISSIVE, Policy


def carry_out(
    document: Document, listener: Listener, *, plan_only: bool = False, policy: Policy = PERMISSIVE
) -> Report:
    """Build the images of ``document``, which was accepted, or only plan them.

    ``policy`` says which addresses may be connected to, and how much may be taken.
    Raises ``BuilderError`` where nothing could be built; an image's own failure is in the report.
    """
    engine.prepare()
    options = document.options
    fetched = fetch_source(
        document.source, document.custom_workdir, listener, lazy=True, timeout=options.limit, policy=policy
    )
    try:
        for warning in fetched.tree.warnings:
            listener.line(f"warning: {warning}")
        place = InWorkspace(fetched.workspace, document.source)
        return build_images(document.target, options, place, listener, plan_only=plan_only, policy=policy)
    finally:
        remove_source(fetched.workspace)
