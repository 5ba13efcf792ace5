# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Digests, as the OCI image specification writes them."""

from __future__ import annotations

import hashlib
import re

_PATTERN = re.compile(r"(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")


def is_digest(text: str) -> bool:
    """Whether ``text`` is a digest that can be verified here."""
    return bool(_PATTERN.match(text))


def matches(body: bytes, digest: str) -> bool:
    """Whether ``digest`` is the digest of ``body``."""
    algorithm, _, value = digest.partition(":")
    return is_digest(digest) and hashlib.new(algorithm, body).hexdigest() == value
