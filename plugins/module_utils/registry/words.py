# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A registry's own words, as far as they may be repeated: short, one line, and without what it was given.

A registry that means harm, or one that tells too much, repeats the login of the one who asks: as it is, in
Base64, decoded, cut in pieces. What is recognised is masked; where something of it is left, nothing is told.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress

from ..secret import Secret, redact
from ..text import printable

_LONGEST = 200
# What is looked at: a secret at the end of what is told is not told in part.
_LONGEST_READ = 2000
# So many letters of a secret in a row tell something of it.
_TELLING = 8
_LEAST_TELLING = 4
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{8,}")


def words(body: bytes, secrets: Iterable[Secret]) -> str:
    """What an error's ``body`` says, such as ``: denied: you may not``, or nothing.

    ``secrets`` are what the registry was given, tokens among them.
    """
    try:
        message = json.loads(body)["errors"][0]["message"]
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return ""
    secrets = tuple(secrets)
    told = redact(str(message)[:_LONGEST_READ], secrets)
    if not told or tells(told, secrets):
        return ""
    return f": {printable(told[:_LONGEST].strip())}"


def tells(text: str, secrets: Iterable[Secret]) -> bool:
    """Whether something of ``secrets`` can be read from ``text``."""
    forms = {
        _letters(form)
        for secret in secrets
        for form in (secret.reveal(), base64.b64encode(secret.reveal().encode()).decode())
    }
    pieces = {
        form[n : n + _TELLING]
        for form in forms
        if len(form) >= _LEAST_TELLING
        for n in range(max(1, len(form) - _TELLING + 1))
    }
    return any(piece in reading for reading in map(_letters, _readings(text)) for piece in pieces)


def _readings(text: str) -> Iterator[str]:
    """``text`` as it is, and what it says where it is read as Base64 or in hexadecimal digits."""
    yield text
    together = re.sub(r"[^A-Za-z0-9+/_-]", "", text)
    for run in (*_ENCODED.findall(text), together):
        for start in range(4):
            encoded = run[start:].replace("-", "+").replace("_", "/")
            with suppress(binascii.Error):
                yield base64.b64decode(encoded[: len(encoded) // 4 * 4]).decode("latin-1")
        for digits in re.findall(r"[0-9A-Fa-f]{8,}", run):
            yield bytes.fromhex(digits[: len(digits) // 2 * 2]).decode("latin-1")


def _letters(text: str) -> str:
    """What is left of ``text`` without what it can be cut in pieces by."""
    return "".join(filter(str.isalnum, text)).lower()
