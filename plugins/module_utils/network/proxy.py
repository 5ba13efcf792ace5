# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The HTTP proxy that the environment names for a host, as Go programs such as Docker read it.

Source of the rules: golang.org/x/net/http/httpproxy. What Python's own reading, and that of the package
``requests``, lack: networks of IPv6 in ``no_proxy``, and that loopback addresses never use a proxy.
"""

from __future__ import annotations

import base64
import ipaddress
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Optional
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass


@dataclass(frozen=True)
class Proxy:
    """A proxy at ``address`` (``host[:port]``), and the ``account`` (``user:password``) it may want."""

    address: str
    account: str = field(default="", repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What requests to the proxy carry."""
        if not self.account:
            return {}
        return {"Proxy-Authorization": f"Basic {base64.b64encode(self.account.encode()).decode()}"}


def proxy_for(scheme: str, host: str) -> Optional[Proxy]:
    """The proxy for requests by ``scheme`` to ``host[:port]``, or ``None``.

    Raises ``ValueError`` for one that is not spoken to by HTTP.
    """
    proxies = getproxies()
    url = proxies.get(scheme)
    name = urlsplit(f"//{host}").hostname or ""
    if not url or name == "localhost" or proxy_bypass(host) or _is_exempt(name, proxies.get("no", "")):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"the environment names a proxy for {scheme} that is not spoken to by HTTP")
    try:
        _ = parts.port
    except ValueError:
        # Where a password holds a '/', what stands before that looks like a port.
        raise ValueError(f"the environment names a proxy for {scheme} whose port is not a number") from None
    account = ""
    if parts.username is not None:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(parts.netloc.rpartition("@")[2], account)


def _is_exempt(name: str, no_proxy: str) -> bool:
    """Whether ``name`` is a loopback address, or lies in a network that ``no_proxy`` lists."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    if address.is_loopback:
        return True
    for entry in no_proxy.split(","):
        with suppress(ValueError):
            if address in ipaddress.ip_network(entry.strip()):
                return True
    return False
