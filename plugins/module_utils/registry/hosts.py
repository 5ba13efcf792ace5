# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which addresses serve a registry, by the rules of the Docker Engine.

Images must be looked up where BuildKit will pull and push them, so this follows the
engine's own settings. Source of the rules: moby ``daemon/hosts.go`` (mirrors, certificates,
fall back to plain HTTP) and ``registry/config.go`` (what counts as insecure).
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional, Union
from urllib.parse import urlsplit

from ..network.reach import Nearness
from ..oci.reference import DOCKER_HUB

CERTIFICATES_FOLDER = "/etc/docker/certs.d"
_DOCKER_HUB_API = "registry-1.docker.io"
_API = "/v2"

_Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
_LOOPBACK: tuple[_Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True)
class Endpoint:
    """One address that serves a registry's API.

    ``scheme`` is ``https`` or ``http``, ``host`` is ``host[:port]``, ``path`` the API's root.
    On an ``insecure`` endpoint the certificate is not checked, and plain HTTP is spoken
    where the server knows no TLS. ``certificates`` are folders in the layout of
    ``/etc/docker/certs.d/HOST``: ``*.crt`` for CAs, ``*.cert`` with ``*.key`` for the client. No address
    of it is used that is nearer than ``nearest``.
    """

    scheme: str
    host: str
    path: str = _API
    insecure: bool = False
    certificates: tuple[str, ...] = ()
    mirror: bool = False
    nearest: Nearness = field(default=Nearness.HERE, compare=False)

    @property
    def url(self) -> str:
        """The API's root, such as ``https://registry-1.docker.io/v2``."""
        return f"{self.scheme}://{self.host}{self.path}"


@dataclass(frozen=True)
class RegistryHosts:
    """The registry settings of an engine.

    ``mirrors`` are URLs for Docker Hub, in order. ``secure`` maps the hosts (``host[:port]``)
    that the settings name to whether their certificate is checked; a host that they do not
    name is insecure where its address lies in one of ``insecure_networks``.
    """

    mirrors: tuple[str, ...] = ()
    secure: Mapping[str, bool] = field(default_factory=dict)
    insecure_networks: tuple[_Network, ...] = _LOOPBACK
    certificates_folder: str = CERTIFICATES_FOLDER

    @classmethod
    def from_engine(
        cls, info: Optional[Mapping[str, Any]], certificates_folder: str = CERTIFICATES_FOLDER
    ) -> RegistryHosts:
        """From ``RegistryConfig`` of the Engine API's ``GET /info``; ``None`` for an engine's defaults."""
        info = info or {}
        networks = [ipaddress.ip_network(text) for text in info.get("InsecureRegistryCIDRs") or ()]
        indexes = info.get("IndexConfigs") or {}
        return cls(
            mirrors=tuple(info.get("Mirrors") or ()),
            secure={host: bool(index.get("Secure", True)) for host, index in indexes.items()},
            insecure_networks=(*_LOOPBACK, *(network for network in networks if network not in _LOOPBACK)),
            certificates_folder=certificates_folder,
        )

    def pull(self, registry: str) -> tuple[Endpoint, ...]:
        """Where images of ``registry`` (``host[:port]``) are read, in the order of asking."""
        mirrors = self.mirrors if registry == DOCKER_HUB else ()
        return (*(self._mirror(url) for url in mirrors), self.push(registry))

    def push(self, registry: str) -> Endpoint:
        """Where images of ``registry`` are written: never a mirror."""
        host = _DOCKER_HUB_API if registry == DOCKER_HUB else registry
        return Endpoint(
            "https", host, insecure=self.is_insecure(registry), certificates=self._certificates(registry)
        )

    def elsewhere(self, origin: Endpoint, scheme: str, host: str) -> Optional[Endpoint]:
        """Another host that ``origin`` leads to (a redirect, a token service), ``None`` for a forbidden one.

        The CAs trusted for ``origin`` are trusted there too, as the engine does. That ``origin`` is insecure
        tells nothing of another host: plain HTTP is spoken only where the settings call that one insecure,
        and never where ``origin``, whose ``scheme`` is the one spoken, answered by HTTPS.
        """
        insecure = self.is_insecure(host)
        if scheme == "http" and (origin.scheme == "https" or not insecure):
            return None
        certificates = (*origin.certificates, *self._certificates(host))
        return Endpoint(
            scheme, host, origin.path, insecure=insecure, certificates=certificates, nearest=origin.nearest
        )

    def is_insecure(self, host: str) -> bool:
        """Whether ``host[:port]`` may be spoken to without checking its certificate."""
        if host in self.secure:
            return not self.secure[host]
        name = urlsplit(f"//{host}").hostname or ""
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return False
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        return any(address in network for address in addresses for network in self.insecure_networks)

    def _mirror(self, url: str) -> Endpoint:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        path = parts.path.rstrip("/")
        return Endpoint(
            parts.scheme,
            parts.netloc,
            path if path.endswith(_API) else path + _API,
            insecure=self.is_insecure(parts.netloc),
            certificates=(*self._certificates(DOCKER_HUB), *self._certificates(parts.netloc)),
            mirror=True,
        )

    def _certificates(self, host: str) -> tuple[str, ...]:
        folder = os.path.join(self.certificates_folder, host)
        return (folder,) if os.path.isdir(folder) else ()
