# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a door calls, once in its process: check, ask the policy, read secrets, tell all faults at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ..oci.reference import Reference
from ..policy import PERMISSIVE, Policy
from ..secret import Secret
from .check import check_account, check_document, check_images, check_workdir
from .check_source import check_source
from .document import Document
from .faults import Faults
from .options import Options
from .permit import limited
from .resolve import with_secrets, with_secrets_in_document
from .secrets import read_secrets, reader
from .source import Source
from .target import RegistryAccount, Target


def accept_document(
    raw: Any, policy: Policy = PERMISSIVE, written: Optional[Mapping[str, str]] = None
) -> Document:
    """The document ``raw``, ready to be carried out; ``written`` is that of ``Faults``.

    Raises ``ParameterError`` with every fault of the document and of its secrets, and all that
    ``policy`` refuses.
    """
    faults = Faults(written)
    document = check_document(faults, raw, policy)
    secrets = _read(faults, policy)
    assert document is not None
    return with_secrets_in_document(limited(document, policy), secrets)


def accept_source(raw: Any, custom_workdir: Any = None) -> tuple[Source, Optional[str]]:
    """What the module ``source`` takes of a document. Raises ``ParameterError``."""
    faults = Faults()
    source = check_source(faults, raw)
    workdir = check_workdir(faults, custom_workdir)
    secrets = _read(faults)
    assert source is not None
    return with_secrets(source, secrets), workdir


def accept_images(
    raw_target: Any, raw_options: Any = None, raw_source: Any = None
) -> tuple[Target, Options, Optional[Source]]:
    """What the module ``images`` takes of a document. Raises ``ParameterError``."""
    faults = Faults()
    source = None if raw_source is None else check_source(faults, raw_source)
    target, options = check_images(faults, raw_target, raw_options)
    secrets = _read(faults)
    assert target is not None
    return with_secrets(target, secrets), options, with_secrets(source, secrets)


def accept_image(
    reference: str, username: Optional[str] = None, password: Any = None, policy: Policy = PERMISSIVE
) -> tuple[Reference, RegistryAccount]:
    """An image in a registry, and who asks for it, as far as ``policy`` lets. Raises ``ParameterError``."""
    faults = Faults()
    parsed = faults.attempt("reference", Reference.parse, reference)
    account = None
    if parsed is not None:
        login = {"url": parsed.registry, "username": username, "password": password}
        account = check_account(faults, login)
    secrets = _read(faults, policy)
    assert parsed is not None
    assert account is not None
    return parsed, with_secrets(account, secrets)


def _read(faults: Faults, policy: Policy = PERMISSIVE) -> dict[str, Secret]:
    """The secrets that were found, by their paths. Raises ``ParameterError`` with all ``faults``."""
    secrets = read_secrets(faults, faults.secrets, reader(policy))
    faults.raise_if_any()
    return secrets
