# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What an image is made from, as one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

#: The annotation of a pushed index (or of a single manifest) that holds the input hash.
INPUT_HASH = "eu.sodalite.image-builder.input-hash"
#: Raised when equal inputs are hashed in another way, so that nothing is compared with an old hash.
HASH_VERSION = 1


def input_hash_of(inputs: Mapping[str, Any]) -> str:
    """The hash of ``inputs``, which JSON can hold: ``sha256:`` and 64 digits."""
    text = json.dumps(inputs, sort_keys=True, ensure_ascii=True)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
