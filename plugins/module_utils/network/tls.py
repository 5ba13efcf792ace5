# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How the certificates of servers are judged, by folders in the layouts that Docker gives them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Optional

from .reach import Nearness

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True)
class Tls:
    """What is trusted of a server: certificates besides those of the system's CAs, and addresses.

    ``certificates`` are folders as ``/etc/docker/certs.d/HOST`` is one: ``*.crt`` for CAs, ``*.cert`` with
    ``*.key`` for the client. ``keys`` is one as ``DOCKER_CERT_PATH`` names for an engine: ``ca.pem`` for the
    only CA, ``cert.pem`` with ``key.pem`` for the client. Each file may be missing.

    For an ``insecure`` server the certificate is not checked, and plain HTTP is spoken where a registry
    knows no TLS. No address is used that is nearer than ``nearest``.
    """

    certificates: tuple[str, ...] = ()
    insecure: bool = False
    keys: str = ""
    nearest: Nearness = Nearness.HERE

    @property
    def may_be_plain(self) -> bool:
        """Whether plain HTTP is spoken with a server that knows no TLS."""
        return self.insecure and not self.keys

    def file(self, name: str) -> Optional[str]:
        """The path of ``ca.pem``, ``cert.pem`` or ``key.pem``, or ``None`` where there is none."""
        path = os.path.join(self.keys, name)
        return path if self.keys and os.path.isfile(path) else None


#: The system's CAs, and nothing else.
SYSTEM = Tls()


class UnusableFile(Exception):
    """A certificate or key that cannot be used; its text is a clause that names the file."""


def new_context(tls: Tls) -> ssl.SSLContext:
    """TLS as ``tls`` says. Raises ``UnusableFile``."""
    import ssl

    from urllib3.util.ssl_ import create_urllib3_context

    # Each generation of urllib3 compares the host's name in its own way, for which its context is made.
    context = create_urllib3_context(cert_reqs=ssl.CERT_NONE if tls.insecure else ssl.CERT_REQUIRED)
    # An engine whose CA is named is trusted by that one alone, as by the Docker CLI (cli/context/docker). To
    # read the system's takes longer than all else here, and is for nothing where nothing is checked.
    if tls.file("ca.pem") is None and not tls.insecure:
        context.load_default_certs()
    # A private CA need not be made as strictly as RFC 5280 says, nor a server's own certificate
    # be one of a CA, to be trusted by Go programs; Python 3.13 differs on the first.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
    for certificate, key in _files(tls):
        try:
            if key is None:
                context.load_verify_locations(certificate)
            else:
                context.load_cert_chain(certificate, key)
        except OSError as error:
            why = error.strerror or "it holds no certificate"
            raise UnusableFile(f"{certificate} cannot be used: {why}") from None
    return context


def _files(tls: Tls) -> Iterator[tuple[str, Optional[str]]]:
    """The file of each CA, with ``None``, and of each client certificate, with that of its key."""
    for folder in tls.certificates:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for path in (os.path.join(folder, name) for name in names):
            if path.endswith(".crt"):
                yield path, None
            elif path.endswith(".cert"):
                yield path, path[: -len("cert")] + "key"
    if tls.keys:
        authority, certificate, key = map(tls.file, ("ca.pem", "cert.pem", "key.pem"))
        if authority:
            yield authority, None
        if certificate and key:
            yield certificate, key
