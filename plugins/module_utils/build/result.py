# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How the images of a request ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import BuilderError, ImagesFailed
from ..oci.manifest import Manifest
from ..text import printable_data
from .planned import Head, State, Unplannable, WithHead


@dataclass(frozen=True)
class ImageResult:
    """How one image ended.

    ``seconds`` is the time from the start of its build, or push, until this image was done.
    """

    head: Head
    state: State
    manifest: Optional[Manifest] = None
    seconds: float = 0.0
    error: Optional[BuilderError] = None

    @classmethod
    def planned(cls, image: WithHead) -> ImageResult:
        """The result of an image with which nothing was done but planning."""
        error = image.error if isinstance(image, Unplannable) else None
        return cls(image.head, image.head.state, image.head.manifest, error=error)

    @classmethod
    def pushed(cls, head: Head, digest: str) -> ImageResult:
        """The result of an image that was pushed as ``digest``, of which the registry was not asked yet."""
        return cls(head, "success", Manifest(head.image.references[0], digest, "", {}, {}))

    def to_dict(self, revision: str) -> dict[str, Any]:
        """The image's entry in results; ``revision`` is that of the source as it is now."""
        leading = self.head.image.references[0]
        digests = self.manifest.platforms if self.manifest else {}
        digest = self.manifest.digest if self.manifest else ""
        return {
            "reference": str(leading),
            "registry": leading.registry,
            "image": leading.repository,
            "tag": leading.tag or "",
            "references": [str(reference) for reference in self.head.image.references],
            "digest": digest,
            "platforms": [
                {"platform": str(platform), "digest": digests.get(platform, "")}
                for platform in self.head.platforms
            ],
            "bases": [base.to_dict() for base in self.head.bases],
            "state": self.state,
            "reason": self.head.reason,
            "changed": self.state == "success",
            "seconds": round(self.seconds, 1),
            "revision": revision if self.head.revision is None else self.head.revision,
            "input_hash": self.head.input_hash,
            "attestations": dict(self.manifest.attestations) if self.manifest else {},
            "error": self.error.to_dict() if self.error else None,
        }


class Results:
    """What is known of each image of a request, whatever ends the work; it may be added to from any thread.

    ``revision`` is that of the source.
    """

    def __init__(self) -> None:
        self.revision = ""
        self._by_name: dict[str, ImageResult] = {}

    def begin(self, images: Sequence[WithHead]) -> None:
        """Begin anew with ``images``, in this order: what is pending counts as cancelled for now."""
        self._by_name = {}
        for image in images:
            result = ImageResult.planned(image)
            self.add(ImageResult(image.head, "cancelled") if result.state == "pending" else result)

    def add(self, result: ImageResult) -> None:
        """Put ``result`` in the place of what was known of its image."""
        self._by_name[result.head.name] = result

    @property
    def all(self) -> tuple[ImageResult, ...]:
        """What is known of each, in their order."""
        return tuple(self._by_name.values())

    @property
    def unfinished(self) -> list[ImageResult]:
        """Those whose images have come to no end of their own."""
        return [result for result in self.all if result.state == "cancelled"]

    @property
    def any_failed(self) -> bool:
        """Whether an image has failed."""
        return any(result.error for result in self.all)


@dataclass(frozen=True)
class Report:
    """The results of a request in the document's order, and the error if any image failed.

    ``stopped`` is what ended the work before all images had come to an end of their own.
    """

    results: tuple[ImageResult, ...]
    revision: str
    stopped: Optional[BuilderError] = None

    @property
    def error(self) -> Optional[BuilderError]:
        """What ended the work, or the failed images' error, or all of theirs in one."""
        if self.stopped is not None:
            return self.stopped
        errors = [result.error for result in self.results if result.error]
        return failed_together(errors) if errors else None

    def to_dict(self) -> dict[str, Any]:
        """``images`` with an entry for each image, and whether any was (or would be) built.

        Its texts steer no terminal that shows them (see ``printable``).
        """
        return {
            "images": printable_data([result.to_dict(self.revision) for result in self.results]),
            "changed": any(result.state in ("success", "pending") for result in self.results),
        }


def refuse_if_none(errors: Sequence[BuilderError], images: int) -> None:
    """Raise why none of so many ``images`` can be built; what all have in common is told once.

    ``errors`` are those of the images that cannot be built. Where there are others, they have results.
    """
    if len(errors) < images:
        return
    if len({(error.code, error.message, error.platform, error.line) for error in errors}) > 1:
        raise failed_together(errors)
    common = errors[0].copy()
    if len(errors) > 1:
        common.image = None
    raise common


def failed_together(errors: Sequence[BuilderError]) -> BuilderError:
    """One error for a request in which several images failed: those that failed alike in one sentence."""
    if len(errors) == 1:
        return errors[0]
    alike: dict[tuple[object, ...], list[BuilderError]] = {}
    for error in errors:
        alike.setdefault((error.code, error.message, error.hint, error.file, error.line), []).append(error)
    parts: list[BuilderError] = []
    for same in alike.values():
        told = same[0].copy()
        told.image = ", ".join(dict.fromkeys(error.image for error in same if error.image)) or None
        parts.append(told)
    return ImagesFailed(len(errors), tuple(parts))
