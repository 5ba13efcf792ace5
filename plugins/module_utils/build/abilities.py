# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What an image asks for of buildx and of the user who builds, and is not there."""

from __future__ import annotations

import os

from ..document.target import Image
from ..engine import buildx
from ..engine.find import Engine
from ..errors import EngineError

# The first version whose bake files have what a key becomes; older ones pass over it without a word.
# Source: docker/buildx, pull requests 2671 (network) and 3234 (extra-hosts).
_FIRST_BUILDX = {"network": (0, 17), "add_hosts": (0, 25)}


def refuse_missing(image: Image, engine: Engine) -> None:
    """Raise ``EngineError`` ``buildx_too_old`` where buildx cannot do what ``image`` asks for."""
    asked = {"network": image.network != "default", "add_hosts": bool(image.add_hosts)}
    keys = [key for key, is_asked in asked.items() if is_asked]
    version = buildx.version(engine.buildx, engine.endpoint) if keys else ""
    for key in keys:
        if buildx.version_numbers(version) < _FIRST_BUILDX[key]:
            needed = ".".join(map(str, _FIRST_BUILDX[key]))
            raise EngineError(
                "buildx_too_old",
                f"This buildx, {version or 'of a version that it does not tell'}, knows no {key}.",
                hint=f"Install buildx {needed} or newer, or leave {key} out.",
            )


def refuse_without_agent(image: Image) -> None:
    """Raise ``EngineError`` ``no_ssh_agent`` where ``image`` needs one that is not there."""
    if None in image.ssh.values() and not os.environ.get("SSH_AUTH_SOCK"):
        raise EngineError(
            "no_ssh_agent",
            "The image asks for the SSH agent of the user who builds, and SSH_AUTH_SOCK names none.",
            hint="Start ssh-agent and add a key, or give the key as {env: NAME} or {file: PATH}.",
        )
