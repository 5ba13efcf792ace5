# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Paths of the machine that builds, which a policy can forbid."""

from __future__ import annotations

import os
from typing import Any, Optional

from .faults import Faults


def check_local_path(faults: Faults, path: str, value: Any, *, home: bool = False) -> Optional[str]:
    """The absolute path of a file or folder of this machine, which ``value`` at ``path`` must be.

    ``home`` allows one that begins with ``~/``.
    """
    text = faults.text(path, value)
    if text is None:
        return None
    faults.powers.append((path, "local_paths"))
    if not os.path.isabs(text) and not (home and text.startswith("~/")):
        name = os.path.basename(os.path.normpath(text)).strip("~.") or "app"
        places = (
            f"/var/tmp/{name}, or ~/{name} in the home of the user that builds" if home else f"/srv/{name}"
        )
        faults.add(
            path,
            f"{text!r} is not absolute, and what reads a document works in a folder of its own; "
            f"write an absolute path, such as {places}",
        )
        return None
    return text
