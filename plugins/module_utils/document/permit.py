# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a checked document asks of the machine that builds, held against the operator's policy.

Two questions are asked elsewhere: which forms of secrets are read, by the ``reader``; and which addresses
may be connected to, where the connection is made.
"""

from __future__ import annotations

from dataclasses import replace

from ..policy import Policy
from .document import Document
from .faults import Faults
from .options import Options

# What each power is, in words for a fault.
_POWERS = {
    "local_paths": "names a file or folder of the machine that builds",
    "own_settings": "asks for what belongs to the user who builds",
    "host_network": "asks for the network of the machine that builds",
}


def permit(document: Document, policy: Policy) -> Document:
    """``document`` within the limits of ``policy``. Raises ``ParameterError`` with all that it refuses."""
    faults = Faults()
    faults.powers += document.powers
    refuse(faults, policy, document.options, len(document.target.images))
    faults.raise_if_any()
    return limited(document, policy)


def limited(document: Document, policy: Policy) -> Document:
    """``document`` with the limit of ``policy`` where it names none, and the usual one is not less."""
    if policy.longest_seconds is None or document.options.timeout is not None:
        return document
    timeout = min(document.options.limit, policy.longest_seconds)
    return replace(document, options=replace(document.options, timeout=timeout))


def refuse(faults: Faults, policy: Policy, options: Options, images: int) -> None:
    """Add to ``faults`` what ``policy`` does not let a document ask for.

    ``faults`` has the powers that the document asks for; ``images`` is how many images there are.
    """
    for path, power in faults.powers:
        if not getattr(policy, power):
            faults.add(path, f"{_POWERS[power]}, which is not allowed here")
    allowed = policy.builders
    if options.builder is not None and allowed is not None and options.builder not in allowed:
        hint = f"choose {' or '.join(sorted(allowed))}" if allowed else "leave it out"
        faults.add("options.builder", f"the builder {options.builder!r} is not allowed here; {hint}")
    longest, most = policy.longest_seconds, policy.most_images
    if longest is not None and options.timeout is not None and options.timeout > longest:
        faults.add("options.timeout", f"expected at most {longest:g} seconds, got {options.timeout:g}")
    if most is not None and images > most:
        faults.add("target.images", f"expected at most {most}, got {images}")
