# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The document in the file that a person gives, checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_document
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.document import Document
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError
from ansible_collections.sodalite.image_builder.plugins.plugin_utils.document_file import (
    Content,
    read_document,
)


def read(path: Path) -> Content:
    """What the YAML or JSON file ``path`` says. Raises ``ParameterError`` or ``OSError``."""
    return read_document(str(path))


def parse(path: Path) -> Any:
    """The data of the YAML or JSON file ``path``. Raises ``ParameterError`` or ``OSError``."""
    return read(path).data


def load(path: Path) -> Document:
    """The document in ``path``, its secrets read.

    Raises ``ParameterError`` with every fault, or ``OSError``.
    """
    return accepted(read(path), path)


def accepted(content: Content, path: Path) -> Document:
    """The document that ``content``, read from ``path``, is. Raises ``ParameterError`` with every fault."""
    if not isinstance(content.data, dict):
        raise ParameterError([f"{path}: expected a mapping with source and target"])
    return accept_document(content.data, written=content.written)
