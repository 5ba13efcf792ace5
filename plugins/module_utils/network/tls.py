# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How the certificates of servers are judged, by folders in the layout of ``/etc/docker/certs.d/HOST``."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass


@dataclass(frozen=True)
class Tls:
    """What is trusted besides the system's CAs.

    ``certificates`` are folders: ``*.crt`` for CAs, ``*.cert`` with ``*.key`` for the client. For an
    ``insecure`` server the certificate is not checked, and plain HTTP is spoken where it knows no TLS.
    """

    certificates: tuple[str, ...] = ()
    insecure: bool = False


#: The system's CAs, and nothing else.
SYSTEM = Tls()


class UnusableFile(Exception):
    """A certificate or key that cannot be used; its text is a clause that names the file."""


def new_context(tls: Tls) -> ssl.SSLContext:
    """TLS as ``tls`` says. Raises ``UnusableFile``."""
    from urllib3.util.ssl_ import create_urllib3_context

    # Each generation of urllib3 compares the host's name in its own way, for which its context is made.
    context = create_urllib3_context(cert_reqs=ssl.CERT_NONE if tls.insecure else ssl.CERT_REQUIRED)
    context.load_default_certs()
    # A private CA need not be made as strictly as RFC 5280 says, nor a server's own certificate
    # be one of a CA, to be trusted by Go programs; Python 3.13 differs on the first.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= getattr(ssl, "VERIFY_X509_PARTIAL_CHAIN", 0)
    for folder in tls.certificates:
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            continue
        for name in names:
            path = os.path.join(folder, name)
            try:
                if name.endswith(".crt"):
                    context.load_verify_locations(path)
                elif name.endswith(".cert"):
                    context.load_cert_chain(path, path[: -len("cert")] + "key")
            except OSError as error:
                why = error.strerror or "it holds no certificate"
                raise UnusableFile(f"{path} cannot be used: {why}") from None
    return context
