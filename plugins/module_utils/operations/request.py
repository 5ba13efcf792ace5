# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One request in one process: fetched, planned, built, and nothing left behind."""

from __future__ import annotations

from dataclasses import replace
from typing import Callable, Optional

from ..build.result import Report
from ..document.document import Document
from ..engine import ask as engine
from ..errors import Cancelled
from ..listener import Listener
from ..policy import PERMISSIVE, Policy
from ..process import undisturbed
from .build_images import InWorkspace, build_images
from .fetch_source import fetch_source, remove_source


def carry_out(
    document: Document,
    listener: Listener,
    *,
    plan_only: bool = False,
    policy: Policy = PERMISSIVE,
    warn: Optional[Callable[[str], object]] = None,
) -> Report:
    """Build the images of ``document``, which was accepted, or only plan them.

    ``policy`` says which addresses may be connected to, and how much may be taken. ``warn`` takes sentences
    on the source that the user is to see; without it, ``listener`` gets them as lines.
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
            if warn is None:
                listener.line(f"warning: {warning}")
            else:
                warn(warning)
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
