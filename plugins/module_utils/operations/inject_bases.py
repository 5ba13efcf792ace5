# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Base injection for people who build by other means: a Dockerfile in, another one out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from typing import Any, Optional

from ..dockerfile.file import read_dockerfile
from ..dockerfile.instructions import Dockerfile, parse
from ..dockerfile.overrides import Base, bases
from ..dockerfile.rewrite import Injection, inject, rewrite, unused_names
from ..dockerfile.stages import Resolution, resolve_all
from ..document.target import Image
from ..errors import DockerfileError
from ..oci.platform import Platform


def inject_bases(
    path: str, image: Image, native: Platform, dest: Optional[str], *, only_ask: bool
) -> dict[str, Any]:
    """The result of the module ``dockerfile``: ``bases``, ``contexts`` and whether ``dest`` changes.

    Of ``image`` count ``base``, ``platforms``, ``build_args`` and ``target``; ``native`` is the builder's own
    platform. Raises ``DockerfileError``.
    """
    try:
        text = read_dockerfile(path, path)
    except OSError as error:
        raise DockerfileError(
            "no_dockerfile", f"{path} cannot be read: {error.strerror}.", hint="Check path."
        ) from None
    try:
        dockerfile = parse(text)
        resolutions = resolve_all(
            dockerfile,
            image.platforms or (native,),
            build_args=image.build_args,
            build_platform=native,
            target=image.target,
        )
        found = bases(dockerfile, resolutions, image.base)
        injection = _injection(dockerfile, resolutions, found)
    except DockerfileError as error:
        if error.line is not None:
            error.file = error.file or path
            error.show(text)
        raise
    changed = dest is not None and _write(dest, injection.text, only_ask)
    return {
        "changed": changed,
        "bases": [base.to_dict() for base in found],
        "contexts": dict(injection.contexts),
    }


def _injection(dockerfile: Dockerfile, resolutions: Sequence[Resolution], found: Sequence[Base]) -> Injection:
    """Plain references where each stage has one for all platforms, else names and contexts for them."""
    overridden = [base for base in found if base.overridden]
    names = {base.stage: str(base.reference.familiar) for base in overridden}
    if all(names.get(base.stage, base.reference.familiar) == base.reference.familiar for base in found):
        return Injection(rewrite(dockerfile, {**unused_names(resolutions), **names}), {})
    stages = {base.stage for base in overridden}
    return inject(dockerfile, resolutions, [base for base in found if base.stage in stages])


def _write(dest: str, text: str, only_ask: bool) -> bool:
    """Write ``text`` to ``dest`` in one step where it differs. Returns whether it does."""
    content = text.encode("utf-8", "surrogateescape")
    try:
        with open(dest, "rb") as file:
            if file.read() == content:
                return False
    except FileNotFoundError:
        pass
    if not only_ask:
        handle, temporary = tempfile.mkstemp(dir=os.path.dirname(dest) or ".", prefix=".image-builder-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.chmod(temporary, 0o644)
            os.replace(temporary, dest)
        except BaseException:
            os.unlink(temporary)
            raise
    return True
