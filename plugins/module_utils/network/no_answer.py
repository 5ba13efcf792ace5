# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Why a server gave no answer, and how long one that is busy wants to be left alone."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal

Kind = Literal["unreachable", "certificate", "tls", "forbidden", "redirect", "too_long"]


class NoAnswer(Exception):
    """Why a server gave no answer, or not all of it. ``what``, a clause, names the server.

    ``kind`` is ``unreachable``, ``certificate`` (one that is not trusted), ``tls`` (another fault of
    it), ``forbidden`` (by the ``Reach``), ``redirect`` (to what is not followed) or ``too_long``. A
    ``temporary`` failure may be gone later; ``connected`` tells whether there was a server at all.
    """

    def __init__(
        self, kind: Kind, what: str, *, hint: str = "", temporary: bool = False, connected: bool = True
    ) -> None:
        super().__init__(what)
        self.kind = kind
        self.what = what
        self.hint = hint
        self.temporary = temporary
        self.connected = connected


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds to wait by a Retry-After header, a number or a date (RFC 9110, 10.2.3); 0 without one."""
    text = headers.get("Retry-After", "")
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0


def reason(status: int) -> str:
    """The words of an HTTP status, such as ``Not Found``; empty for one that has none."""
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
