# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Whether what was pushed stands in the registry: its tags, its index, and all that a pull needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Callable, Optional, Union

from ..errors import RegistryError
from ..oci.manifest import Manifest
from ..oci.reference import Reference
from ..parallel import in_parallel
from . import read
from .client import Registry

#: What to do about an image that the registry took and does not hold.
LOST_HINT = (
    "Run it again; if it stays so, ask those who run the registry, or look for what else pushes this tag."
)


@dataclass(frozen=True)
class Confirmed:
    """What was pushed and stands in the registry.

    ``moved`` are the tags that somebody else gave to another image since then, with that one's digest.
    """

    manifest: Manifest
    moved: Mapping[Reference, str] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """A line on each tag that was moved on."""
        return [
            f"warning: {reference} was moved on to {digest} after this push"
            for reference, digest in self.moved.items()
        ]


def named_now(registry: Registry, references: Sequence[Reference]) -> dict[Reference, Optional[str]]:
    """The digest that each of ``references`` names, ``None`` for nothing; without those not told of."""

    def look_up(reference: Reference) -> Union[str, RegistryError, None]:
        try:
            return read.digest(registry, reference, mirrors=False)
        except RegistryError as error:
            return error

    named = zip(references, in_parallel(look_up, references))
    return {reference: held for reference, held in named if not isinstance(held, RegistryError)}


def confirm(
    registry: Registry,
    references: Sequence[Reference],
    digest: str,
    before: Mapping[Reference, Optional[str]],
    is_other: Callable[[Manifest], object] = lambda manifest: False,
) -> Confirmed:
    """What the registry holds of the image that was pushed as ``digest`` under ``references``.

    ``before`` is what these named before the push (see ``named_now``). ``is_other`` tells of a manifest that
    it is not what was built.

    Raises ``RegistryError`` of the phase ``report``: ``push_lost`` where a reference names nothing, or what
    it did before, and where the image is not there, or not whole; or why the registry could not be asked.
    """
    leading = references[0]
    try:
        moved: dict[Reference, str] = {}
        for reference, held in zip(
            references, in_parallel(partial(read.digest, registry, mirrors=False), references)
        ):
            if held == digest:
                continue
            if held is None or held == before.get(reference, held):
                raise lost(reference, held, digest)
            moved[reference] = held
        manifest = read.manifest(registry, leading.with_digest(digest), mirrors=False)
        if is_other(manifest):
            raise lost(leading, "another image", digest)
        missing = read.missing(registry, manifest)
        if missing:
            raise lost(leading, f"an image without {', '.join(missing)}", digest)
    except RegistryError as error:
        if error.code == "manifest_unknown":
            raise lost(leading, None, digest) from None
        error.phase = "report"
        raise
    return Confirmed(manifest, moved)


def lost(reference: Reference, held: object, digest: str) -> RegistryError:
    """The error for ``held`` under ``reference`` in the place of the pushed ``digest``."""
    return RegistryError(
        "push_lost",
        f"The registry holds {held or 'nothing'} as {reference} instead of the {digest} that was pushed.",
        hint=LOST_HINT,
        retryable=True,
        phase="report",
    )
