# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Addresses of single files: which are accepted. The document is hostile input, so they are checked first."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

from ..oci.reference import is_registry_host

SCHEMES = ("https", "http", "file")
_UNUSABLE = re.compile(r"[^\x21-\x7e]|%(?:[01][0-9a-f]|7f)", re.IGNORECASE)


def check_url(url: str) -> None:
    """Accept ``url``, or raise ``ValueError`` with one sentence that never repeats a credential."""
    if _UNUSABLE.search(url):
        raise ValueError(
            "an address has no control characters; blanks and letters beyond ASCII are written %20"
        )
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in SCHEMES:
        raise ValueError(f"the address of a file starts with one of {', '.join(f'{s}://' for s in SCHEMES)}")
    if "#" in rest or (scheme == "file" and "?" in rest):
        raise ValueError("the address of a file has no '#', and that of a local one no '?'")
    if scheme == "file":
        if not rest.startswith("/"):
            raise ValueError("the address of a local file is file:/// and an absolute path")
        return
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    try:
        usable = is_registry_host(authority) and urlsplit(url).port != 0
    except ValueError:
        usable = False
    # A password may hold a '/', so an '@' after what is no host can mean one.
    if not usable and "@" in rest:
        raise ValueError(
            "an address carries no user name or password; give them as 'username' and 'password'"
        )
    if not usable:
        raise ValueError("after https:// or http:// comes a host, or a host and a port")


def shown(url: str) -> str:
    """A checked address as results, annotations, messages and logs have it.

    What follows a ``?`` can be a token or a signature, and is left out.
    """
    return url.partition("?")[0]


def local_path(url: str) -> str:
    """The path that a checked ``file`` URL names."""
    return unquote(url.partition("://")[2])


def to_url(path: str) -> str:
    """The ``file`` URL of an absolute path."""
    return "file://" + quote(path)
