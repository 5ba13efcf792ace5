# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a plan holds of each image, and the states that images have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Optional, Protocol, Union

from ..dockerfile.overrides import Base
from ..dockerfile.rewrite import Injection
from ..dockerfile.stages import Resolution
from ..document.target import Image
from ..errors import BuilderError
from ..oci.manifest import Manifest
from ..oci.platform import Platform

#: In a plan: ``pending`` (to be built or pushed), ``unchanged`` (the registry holds it already), or
#: ``failed`` (it cannot be planned).
PlannedState = Literal["pending", "unchanged", "failed"]
#: In a result: as planned, or ``success`` (pushed by this run), or ``cancelled`` (not built or pushed, since
#: another image failed).
State = Literal[PlannedState, "success", "cancelled"]


@dataclass(frozen=True)
class PlannedBase:
    """A base image of one stage for one platform of the image, with the digest its reference has now."""

    base: Base
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """For results: which stage stands on what, and what the Dockerfile says there."""
        return {**self.base.to_dict(), "digest": self.digest}


@dataclass(frozen=True)
class Head:
    """What results tell of one image, whether it is built or only pushed.

    ``platforms`` are those it is made for, ``bases`` what it stands on. ``input_hash`` says what it is made
    from (see ``Inputs``); for an image that an archive holds it is the digest. ``reason`` is that of
    ``state``. ``manifest`` is what the registry holds under the leading reference of an unchanged image,
    which ``bases`` and ``revision`` are those of; ``None`` stands for the revision of the request's source.
    Of an image that cannot be planned only ``image`` is known.
    """

    image: Image
    platforms: tuple[Platform, ...] = ()
    input_hash: str = ""
    bases: tuple[PlannedBase, ...] = ()
    state: PlannedState = "pending"
    reason: str = ""
    manifest: Optional[Manifest] = None
    revision: Optional[str] = None

    @property
    def name(self) -> str:
        """The leading reference as text, which no other image of the request has."""
        return self.image.name

    def judged(self, state: PlannedState, reason: str, manifest: Optional[Manifest] = None) -> Head:
        """The same image in ``state`` for ``reason``."""
        return replace(self, state=state, reason=reason, manifest=manifest)


class WithHead(Protocol):
    """An image that was planned, whatever is to be done with it."""

    @property
    def head(self) -> Head:
        """What results tell of it."""


@dataclass(frozen=True)
class Recipe:
    """What the build of an image needs: what each platform uses, and what makes BuildKit use the bases.

    ``build_args`` go before those of the document. ``emptied`` are labels of the base that do not hold here.
    """

    resolutions: tuple[Resolution, ...]
    injection: Injection
    build_args: Mapping[str, str] = field(default_factory=dict)
    emptied: tuple[str, ...] = ()


@dataclass(frozen=True)
class Planned:
    """An image that can be built."""

    head: Head
    recipe: Recipe


@dataclass(frozen=True)
class Unplannable:
    """An image that cannot be built, because of ``error``."""

    head: Head
    error: BuilderError

    @classmethod
    def of(cls, image: Image, error: BuilderError) -> Unplannable:
        """``image``, of which nothing else is known."""
        return cls(Head(image, state="failed", reason="it cannot be planned"), error)


PlannedImage = Union[Planned, Unplannable]


def unplannable(images: Sequence[PlannedImage]) -> list[BuilderError]:
    """Why some of ``images`` cannot be planned."""
    return [image.error for image in images if isinstance(image, Unplannable)]
