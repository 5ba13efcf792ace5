# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Pushing an image that an archive holds, under the names of a target: planned and reported like a build."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Union

from ..document.options import Options
from ..document.target import Image
from ..errors import BuilderError, Cancelled, Place, RegistryError, SourceError
from ..listener import Listener
from ..oci.layout import StoredImage, read_image
from ..oci.reference import Reference
from ..parallel import in_parallel
from ..registry.client import Registry
from ..registry.confirm import confirm, named_now
from ..registry.push import check_push, push_blob, push_manifest
from ..sources.workspace import Workspace
from .planned import Head, Unplannable
from .result import ImageResult, Results, refuse_if_none
from .unchanged import compare, stored_otherwise

# An image that asks for nothing.
_PLAIN = Image(references=())
_NO_OPTIONS = Options()
_OF_BUILDS = tuple(field.name for field in fields(Image) if field.name not in ("references", "platforms"))


@dataclass(frozen=True)
class _Planned:
    """An image that can be pushed: what results tell of it, and what there is to push."""

    head: Head
    stored: StoredImage


_PlannedImage = Union[_Planned, Unplannable]


class ImagePush:
    """Pushes what ``workspace`` holds as each of ``images``.

    Raises ``SourceError`` ``archive_invalid``. What is wrong with one image fails that one:
    ``archive_holds_image`` where the document wants something built, ``archive_lacks_platform``, or why the
    registry does not tell of it. Where it is so of all of them, it is raised.
    """

    def __init__(
        self, workspace: Workspace, images: Sequence[Image], options: Options, registry: Registry
    ) -> None:
        self._registry = registry
        self._options = options
        self._images = images
        self._stored = read_image(lambda path: workspace.path_inside(path, "path in the archive"))
        self._pushed: dict[str, str] = {}

    def plan(self) -> list[ImageResult]:
        """What would be pushed."""
        return [ImageResult.planned(image) for image in self._planned()]

    def carry_out(self, listener: Listener, results: Results) -> None:
        """Push what is not in the registry yet; an image's failure is in its result.

        ``results`` has what is known of each image at any time, whatever ends the work.
        """
        planned = self._planned()
        results.begin(planned)
        if self._options.on_failure == "atomic":
            self._each(planned, listener, results, with_tags=False)
        if self._options.on_failure != "atomic" or not results.any_failed:
            self._each(planned, listener, results, with_tags=True)

    def _planned(self) -> list[_PlannedImage]:
        planned = in_parallel(self._plan, self._images)
        refuse_if_none([image.error for image in planned if isinstance(image, Unplannable)], len(planned))
        return planned

    def _plan(self, image: Image) -> _PlannedImage:
        try:
            _check(image, self._options)
            stored = _for_platforms(self._stored, image)
            head = Head(image, tuple(stored.platforms), stored.digest)
            return _Planned(compare(head, stored_otherwise, self._options, self._registry), stored)
        except Cancelled:
            raise
        except BuilderError as error:
            return Unplannable.of(image, error)

    def _each(
        self, images: Sequence[_PlannedImage], listener: Listener, results: Results, *, with_tags: bool
    ) -> None:
        """Push each image that the registry lacks; after a failure only if the others go on."""
        for image in images:
            if isinstance(image, Unplannable):
                listener.line(f"{image.head.name} failed")
            elif image.head.state == "unchanged":
                listener.line(f"{image.head.name} is unchanged")
            elif self._options.on_failure == "continue" or not results.any_failed:
                listener.line(f"pushing {image.head.name}")
                begun = time.monotonic()
                try:
                    self._upload(image)
                    if with_tags:
                        self._tag(image, begun, listener, results)
                except RegistryError as error:
                    error.image = image.head.name
                    listener.line(f"{image.head.name} failed")
                    seconds = time.monotonic() - begun
                    results.add(ImageResult(image.head, "failed", error=error, seconds=seconds))

    def _upload(self, image: _Planned) -> None:
        """Push everything but the tags."""
        leading, stored = image.head.image.references[0], image.stored
        check_push(self._registry, leading)
        for manifest in stored.manifests:
            for digest, path in manifest.blobs.items():
                self._push_blob(leading, digest, path)
            if manifest.digest != stored.digest:
                push_manifest(self._registry, leading, manifest.media_type, manifest.body, manifest.digest)

    def _tag(self, image: _Planned, begun: float, listener: Listener, results: Results) -> None:
        """Push the tags of what is uploaded; the push began at ``begun``."""
        head, stored = image.head, image.stored
        references = head.image.references
        before = named_now(self._registry, references)
        for reference in references:
            push_manifest(self._registry, reference, stored.media_type, stored.body)
        results.add(ImageResult.pushed(head, stored.digest))
        found = confirm(self._registry, references, stored.digest, before)
        for line in found.warnings:
            listener.line(line)
        listener.line(f"{head.name} pushed as {stored.digest}")
        results.add(ImageResult(head, "success", found.manifest, time.monotonic() - begun))

    def _push_blob(self, reference: Reference, digest: str, path: str) -> None:
        """Upload a blob once; other repositories of the target's registry take it from the first."""
        first = self._pushed.get(digest)
        if first != reference.repository:
            push_blob(self._registry, reference, digest, path, first)
            self._pushed.setdefault(digest, reference.repository)


def _check(image: Image, options: Options) -> None:
    wrong = [name for name in _OF_BUILDS if getattr(image, name) != getattr(_PLAIN, name)]
    wrong += [
        f"options.{name}"
        for name in ("provenance", "sbom", "compression")
        if getattr(options, name) != getattr(_NO_OPTIONS, name)
    ]
    if wrong:
        raise SourceError(
            "archive_holds_image",
            f"The archive holds an image, which is pushed as it is: {', '.join(wrong)} do not fit it.",
            hint="Leave them out, or give an archive with a Dockerfile.",
            place=Place(image=image.name),
        )


def _for_platforms(stored: StoredImage, image: Image) -> StoredImage:
    for platform in image.platforms:
        if platform not in stored.platforms:
            raise SourceError(
                "archive_lacks_platform",
                f"The image in the archive has no {platform}; it has "
                + ", ".join(sorted(map(str, stored.platforms)))
                + ".",
                hint="Leave the platform out, or save an image that has it.",
                place=Place(image=image.name, platform=str(platform)),
            )
    return stored.only(image.platforms) if image.platforms else stored
