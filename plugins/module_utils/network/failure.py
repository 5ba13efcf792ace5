# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Why a server did not do what was asked, and how long one that is busy wants to be left alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal, Optional

Kind = Literal["unreachable", "certificate", "tls", "forbidden", "redirect", "too_long"]


@dataclass(eq=False)
class Failure(Exception):
    """Why a server did not do what was asked. ``what``, a clause, names the server.

    ``code`` is one of who asked, or, where there was no answer, or not all of it: ``unreachable``,
    ``certificate`` (one that is not trusted), ``tls`` (another fault of it), ``forbidden`` (by the
    ``Reach``), ``redirect`` (to what is not followed) or ``too_long``. ``status`` is that of the answer.
    A failure with a ``pause`` may be gone later: it is how many seconds the server asks to wait at least.
    ``connected`` tells whether there was a server at all.
    """

    code: str
    what: str
    hint: str = ""
    status: Optional[int] = None
    pause: Optional[float] = None
    connected: bool = True


def retry_after(headers: Mapping[str, str]) -> float:
    """The seconds to wait by a Retry-After header, a number or a date (RFC 9110, 10.2.3); 0 without one."""
    from urllib3.exceptions import InvalidHeader
    from urllib3.util import Retry

    try:
        return Retry().parse_retry_after(headers.get("Retry-After", ""))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0


def reason(status: int) -> str:
    """The words of an HTTP status, such as ``Not Found``; empty for one that has none."""
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
