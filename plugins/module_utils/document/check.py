# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""From the document as users write it to checked data, with every fault at once.

Each fault is ``path: what is wrong``, such as
``target.images[1].platforms[0]: 'linux' is not a platform; …``. No key is silently
ignored. What means that a key is left out is in ``left_out.py``; a key of the user's own,
such as a build argument, must have a value.
Nothing here reads the environment or a file.
"""

from __future__ import annotations

from typing import Any, Optional

from ..oci.platform import Platform
from ..policy import PERMISSIVE, Policy
from .argument_spec import IMAGE, KEYS
from .check_local_path import check_local_path
from .check_options import check_options
from .check_source import check_source
from .check_target import check_dockerfile_keys, check_registry, check_target
from .document import Document
from .faults import Faults
from .options import Options
from .permit import refuse
from .target import Image, RegistryAccount, Target


def check(raw: Any) -> Document:
    """The document ``raw``, its secrets not yet read. Raises ``ParameterError`` with every fault."""
    faults = Faults()
    document = check_document(faults, raw, PERMISSIVE)
    faults.raise_if_any()
    assert document is not None
    return document


def check_document(faults: Faults, raw: Any, policy: Policy) -> Optional[Document]:
    """The document ``raw``, or ``None`` where ``faults`` has some or ``policy`` refuses something."""
    parts = faults.mapping("", raw, KEYS)
    source = check_source(faults, parts.get("source"))
    wanted, options = check_images(faults, parts.get("target"), parts.get("options"))
    workdir = check_workdir(faults, parts.get("custom_workdir"))
    refuse(faults, policy, options, len(wanted.images) if wanted else 0)
    if faults or source is None or wanted is None:
        return None
    asked = tuple(faults.secrets), tuple(faults.powers)
    return Document(source, wanted, options, workdir, dict(raw), *asked)


def check_images(faults: Faults, raw_target: Any, raw_options: Any) -> tuple[Optional[Target], Options]:
    """The target, or ``None`` with the reasons in ``faults``, and the options."""
    return check_target(faults, raw_target), check_options(faults, raw_options)


def check_workdir(faults: Faults, raw: Any) -> Optional[str]:
    """The folder for workspaces, which may lie in the user's home (``~/``) on the machine that builds.

    An empty text is none at all, as playbooks' defaults have it.
    """
    return None if raw in (None, "") else check_local_path(faults, "custom_workdir", raw, home=True)


def check_account(faults: Faults, raw: Any) -> Optional[RegistryAccount]:
    """``url``, ``username`` and ``password`` of a registry by itself."""
    account, folder = check_registry(faults, "registry", raw)
    if account is not None and folder:
        faults.add("registry.url", "expected only a host and a port")
    return account


def check_build(raw: Any, build_platform: str) -> tuple[Image, Platform]:
    """The keys of an image that concern its Dockerfile, without a name. Raises ``ParameterError``."""
    faults = Faults()
    known = {name: IMAGE[name] for name in ("base", "platforms", "build_args", "target")}
    parts = faults.mapping("image", raw, known)
    native = faults.attempt("build_platform", Platform.parse, build_platform)
    image = Image(references=(), **check_dockerfile_keys(faults, "", parts))
    faults.raise_if_any()
    assert native is not None
    return image, native
