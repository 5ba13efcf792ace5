# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One request in this process: fetched, planned, built, and nothing left behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Optional

from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.document import Document
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import ask as engine
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import Cancelled
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
from ansible_collections.sodalite.image_builder.plugins.module_utils.process import undisturbed


def carry_out(
    document: Document, listener: Listener, *, plan_only: bool = False, policy: Policy = PERMISSIVE
) -> Report:
    """Build the images of ``document``, which was accepted, or only plan them.

    ``policy`` says which addresses may be connected to, and how much may be taken.
    Raises ``BuilderError`` where nothing could be built; an image's own failure is in the report, and what
    ended the build.
    """
    engine.prepare()
    options = document.options
    fetched = fetch_source(
        document.source, document.custom_workdir, listener, lazy=True, timeout=options.limit, policy=policy
    )
    report: Optional[Report] = None
    try:
        for warning in fetched.tree.warnings:
            listener.line(f"warning: {warning}")
        place = InWorkspace(fetched.workspace, document.source)
        report = build_images(document.target, options, place, listener, plan_only=plan_only, policy=policy)
    finally:
        try:
            with undisturbed():
                remove_source(fetched.workspace)
        except Cancelled as error:
            if report is None:
                raise
            report = replace(report, stopped=error)
    return report
