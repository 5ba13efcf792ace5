# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One request in this process: fetched, planned, built, and nothing left behind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import Listener
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.build_images import (
    build_images,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)

from image_builder.playbooks import set_up as build_site


def carry_out(document: Mapping[str, Any], listener: Listener, *, plan_only: bool = False) -> Report:
    """Build the images of a checked ``document``, or only plan them.

    Raises ``BuilderError`` where nothing could be built; an image's own failure is in the report.
    """
    build_site.make_named_sample(document)
    options = document.get("options") or {}
    fetched = fetch_source(
        document["source"],
        document.get("custom_workdir"),
        listener,
        lazy=True,
        timeout=options.get("timeout"),
    )
    try:
        for warning in fetched.tree.warnings:
            listener.line(f"warning: {warning}")
        return build_images(
            document["target"],
            options,
            workspace=fetched.workspace,
            source=None,
            raw_source=document["source"],
            plan_only=plan_only,
            listener=listener,
        )
    finally:
        remove_source(fetched.workspace)
