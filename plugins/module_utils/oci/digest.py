# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Digests, as the OCI image specification writes them."""

from __future__ import annotations

import hashlib
import re

_CHUNK = 1 << 20
_PATTERN = re.compile(r"(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")


def is_digest(text: str) -> bool:
    """Whether ``text`` is a digest that can be verified here."""
    return bool(_PATTERN.match(text))


def digest_of(content: bytes) -> str:
    """The digest of ``content``, as ``sha256:...``."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def digest_of_file(path: str) -> str:
    """The digest of what the file at ``path`` holds, as ``sha256:...``. Raises ``OSError``."""
    total = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return f"sha256:{total.hexdigest()}"


def matches(body: bytes, digest: str) -> bool:
    """Whether ``digest`` is the digest of ``body``."""
    algorithm, _, value = digest.partition(":")
    return is_digest(digest) and hashlib.new(algorithm, body).hexdigest() == value
