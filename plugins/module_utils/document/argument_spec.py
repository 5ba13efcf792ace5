# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The keys of a document and their types, as Ansible's modules take them.

The checks read from here which keys there are, and say themselves which values are right.
"""

from __future__ import annotations

from typing import Any

from .options import CHOICES, Options
from .target import NETWORKS

_DEFAULTS = Options()
_LOGIN: dict[str, Any] = {"username": {"type": "str"}, "password": {"type": "raw", "no_log": True}}
_SSH: dict[str, Any] = {
    "ssh_key_file": {"type": "path", "no_log": False},
    "ssh_known_hosts_file": {"type": "path"},
}
_PLACES: dict[str, Any] = {
    "dockerfile": {"type": "str", "default": "Dockerfile"},
    "workdir": {"type": "str", "default": "."},
}
#: The option ``source`` as the documentation fragment of that name describes it.
SOURCE: dict[str, Any] = {
    "git_repo": {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "version": {"type": "str", "default": "HEAD"},
            **_LOGIN,
            **_SSH,
            **_PLACES,
        },
    },
    "dockerfile": {
        "type": "dict",
        "options": {"url": {"type": "str", "required": True}, **_LOGIN, "checksum": {"type": "str"}},
    },
    "build_context": {
        "type": "dict",
        "options": {
            "url": {"type": "str"},
            "version": {"type": "str"},
            **_LOGIN,
            **_SSH,
            "subdir": {"type": "str"},
            "path": {"type": "path"},
        },
    },
    "tar": {
        "type": "dict",
        "options": {
            "url": {"type": "str"},
            "path": {"type": "path"},
            **_LOGIN,
            "checksum": {"type": "str"},
            **_PLACES,
        },
    },
}
#: An item of ``target.images``.
IMAGE: dict[str, Any] = {
    "image": {"type": "str", "required": True},
    "tag": {"type": "str"},
    "tags": {"type": "list", "elements": "str"},
    "base": {"type": "raw"},
    "platforms": {"type": "list", "elements": "str"},
    "build_args": {"type": "dict"},
    "target": {"type": "str"},
    "labels": {"type": "dict"},
    "annotations": {"type": "dict"},
    "no_cache": {"type": "bool", "default": False},
    "pull": {"type": "bool", "default": False},
    "secrets": {"type": "dict", "no_log": True},
    "ssh": {"type": "dict", "no_log": True},
    "contexts": {"type": "dict"},
    "cache_from": {"type": "list", "elements": "raw"},
    "cache_to": {"type": "list", "elements": "raw"},
    "network": {"type": "str", "choices": list(NETWORKS), "default": NETWORKS[0]},
    "add_hosts": {"type": "dict"},
    "shm_size": {"type": "str"},
    "ulimits": {"type": "dict"},
    "no_cache_filter": {"type": "list", "elements": "str"},
}
#: ``target.registry``.
REGISTRY: dict[str, Any] = {"url": {"type": "str", "required": True}, **_LOGIN}
#: The option ``target``.
TARGET: dict[str, Any] = {
    "images": {"type": "list", "elements": "dict", "required": True, "options": IMAGE},
    "registry": {"type": "dict", "required": True, "options": REGISTRY},
}
#: The option ``options``.
OPTIONS: dict[str, Any] = {
    "builder": {"type": "str"},
    **{
        name: {"type": "str", "choices": list(choices), "default": getattr(_DEFAULTS, name)}
        for name, choices in CHOICES.items()
    },
    "timeout": {"type": "float"},
    "retry_for": {"type": "float", "default": _DEFAULTS.retry_for},
    "reproducible": {"type": "bool", "default": _DEFAULTS.reproducible},
    "sbom": {"type": "bool", "default": _DEFAULTS.sbom},
    "compression": {"type": "raw"},
    "delete_images": {"type": "bool", "default": _DEFAULTS.delete_images},
}
#: The options of the documentation fragment ``registry_login``.
REGISTRY_LOGIN: dict[str, Any] = {"reference": {"type": "str", "required": True}, **_LOGIN}
#: The parts of a document, as options of modules.
PARTS: dict[str, Any] = {
    "source": {"type": "dict", "options": SOURCE},
    "target": {"type": "dict", "options": TARGET},
    "options": {"type": "dict", "options": OPTIONS},
}
#: The keys of a document.
KEYS: dict[str, Any] = {**PARTS, "custom_workdir": {"type": "path"}}
