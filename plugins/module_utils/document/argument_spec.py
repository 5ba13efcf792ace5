# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The argument specification of a document's source, for the modules that take one."""

from __future__ import annotations

from typing import Any

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
