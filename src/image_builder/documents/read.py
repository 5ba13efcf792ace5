# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Reading the file that a person gives: the document, in YAML or JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_document
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.document import Document
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError

_MOST_VALUES = 1_000_000


def parse(path: Path) -> Any:
    """What the YAML or JSON file ``path`` says. Raises ``ParameterError`` or ``OSError``."""
    text = path.read_bytes()
    try:
        # JSON has forms that YAML reads otherwise, and its own messages point at the place.
        document = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise ParameterError([f"{path}: is not {kind}: {_said(error)}"]) from None
    if not _is_bounded(document):
        raise ParameterError([f"{path}: says more than {_MOST_VALUES} things, or repeats itself without end"])
    return document


def load(path: Path) -> Document:
    """The document in ``path``, its secrets read.

    Raises ``ParameterError`` with every fault, or ``OSError``.
    """
    document = parse(path)
    if not isinstance(document, dict):
        raise ParameterError([f"{path}: expected a mapping with source and target"])
    return accept_document(document)


def _said(error: Exception) -> str:
    """What is wrong and where, without the line itself, which may hold a password."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{error.problem}: line {mark.line + 1} column {mark.column + 1}"
    return " ".join(str(error).split())


def _is_bounded(document: Any) -> bool:
    """Whether it can be walked through: aliases make a few lines of YAML endless, or nearly so."""
    waiting, count = [document], 0
    while waiting and count <= _MOST_VALUES:
        value = waiting.pop()
        count += 1
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return not waiting
