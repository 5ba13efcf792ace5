# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which values of a document mean that their key is left out.

``null`` does, since TOSCA passes optional properties so. So does the empty text for those keys to which
libraries of earlier image builders gave it as a default, and for whole mappings, since tools that write
blueprints fill in every key. For others it is a fault: a variable that happens to be empty must not turn
off a ``checksum``, nor choose a ``tag``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Source: the data types of SODALITE's image-builder, docker_image_definition.yaml, default: "".
_EMPTY = frozenset(
    {"base", "dockerfile", "password", "path", "subdir", "url", "username", "version", "workdir"}
)


def left_out(name: str, value: Any, entry: Mapping[str, Any]) -> bool:
    """Whether ``value`` leaves out the key ``name``, which ``entry`` of an argument spec describes."""
    if value is None:
        return True
    optional = not entry.get("required", False)
    whole_mapping = entry.get("type") == "dict" and "options" in entry
    return value == "" and optional and (whole_mapping or name in _EMPTY)


def without_left_out(value: Any, spec: Mapping[str, Any]) -> Any:
    """``value``, which ``spec`` describes, without the keys of the document that are left out.

    Ansible knows no null, and fills no default in for an empty text. Keys of the user's own stay; there null
    is a fault.
    """
    options = spec.get("options")
    if options is None:
        return value
    if isinstance(value, (list, tuple)):
        return [without_left_out(item, spec) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: without_left_out(item, options.get(key, {}))
        for key, item in value.items()
        if key not in options or not left_out(key, item, options[key])
    }
