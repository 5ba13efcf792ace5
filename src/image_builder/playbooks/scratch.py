# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A folder for what opera and Ansible write, inputs in clear text among it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import (
    Workspace,
    remove_stale,
)


@contextmanager
def scratch() -> Iterator[Path]:
    """A private folder, gone at the end of the block however it comes.

    Where this process is killed, the next run removes it: it is a workspace like any other. Raises
    ``SourceError``.
    """
    remove_stale()
    with Workspace.create() as made:
        yield Path(made.path)
