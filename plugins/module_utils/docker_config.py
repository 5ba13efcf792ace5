# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The user's own Docker configuration, which is only read."""

from __future__ import annotations

import json
import os
from typing import Any


def docker_config_folder() -> str:
    """The folder of the user's Docker CLI configuration."""
    return os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")


def read_user_config() -> dict[str, Any]:
    """The user's Docker ``config.json``; empty where there is none that can be read, as for Docker."""
    try:
        with open(os.path.join(docker_config_folder(), "config.json"), encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
