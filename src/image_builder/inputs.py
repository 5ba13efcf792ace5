# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Reading the file that a person gives: the document, in YAML or JSON."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError
from ansible_collections.sodalite.image_builder.plugins.module_utils.parameters import check_document

#: The inputs of the service template.
NAMES = ("source", "target", "options", "custom_workdir")


def parse(path: Path) -> Any:
    """What the YAML or JSON file ``path`` says. Raises ``ParameterError`` or ``OSError``."""
    text = path.read_bytes()
    try:
        # JSON has forms that YAML reads otherwise, and its own messages point at the place.
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, json.JSONDecodeError) as error:
        kind = "JSON" if path.suffix == ".json" else "YAML"
        raise ParameterError([f"{path}: is not {kind}: {' '.join(str(error).split())}"]) from None


def load(path: Path) -> dict[str, Any]:
    """The checked inputs in ``path``. Raises ``ParameterError`` with every fault, or ``OSError``."""
    document = parse(path)
    if not isinstance(document, dict):
        raise ParameterError([f"{path}: a mapping with {' and '.join(NAMES[:2])} is wanted"])
    faults = [_unknown(key) for key in document if key not in NAMES]
    try:
        check_document(document.get("source"), document.get("target"), document.get("options"))
    except ParameterError as error:
        faults += error.faults
    if faults:
        raise ParameterError(faults)
    return document


def _unknown(key: Any) -> str:
    near = difflib.get_close_matches(str(key), NAMES, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(NAMES)}"
    return f"{key}: unknown key; {hint}"
