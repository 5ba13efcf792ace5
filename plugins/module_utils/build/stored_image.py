# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Pushing an image that an archive holds, under the names of a target: planned and reported like a build."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Callable, Optional

from ..dockerfile.rewrite import Injection
from ..document.options import Options
from ..document.target import Image
from ..errors import BuilderError, Cancelled, RegistryError, SourceError
from ..listener import Listener
from ..oci.layout import StoredImage, read_image
from ..oci.manifest import Manifest
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..registry import read
from ..registry.client import Registry
from ..registry.confirm import confirm
from ..registry.push import check_push, push_blob, push_manifest
from ..sources.workspace import Workspace
from .plan import ImagePlan
from .result import ImageResult

_OF_BUILDS = (
    *("base", "build_args", "target", "labels", "annotations", "no_cache", "pull", "secrets"),
    *("cache_from", "cache_to"),
)


@dataclass(frozen=True)
class StoredPlan(ImagePlan):
    """The plan for an image that needs no build: there is nothing to resolve, and its digest is known."""

    held: tuple[Platform, ...] = ()

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms that are pushed."""
        return self.held


class ImagePush:
    """Pushes what ``workspace`` holds as each of ``images``.

    Raises ``SourceError``: ``archive_invalid``, ``archive_holds_image`` where the document wants
    something built, ``archive_lacks_platform``.
    """

    def __init__(
        self, workspace: Workspace, images: Sequence[Image], options: Options, registry: Registry
    ) -> None:
        self._registry = registry
        self._options = options
        for image in images:
            _check(image, options)
        stored = read_image(lambda path: workspace.path_inside(path, "path in the archive"))
        self._stored = [(image, _for_platforms(stored, image)) for image in images]
        self._pushed: dict[str, str] = {}

    def plan(self) -> list[ImageResult]:
        """What would be pushed."""
        plans = [self._plan(image, stored) for image, stored in self._stored]
        return [ImageResult(plan, plan.state, plan.manifest) for plan in plans]

    def carry_out(self, listener: Listener) -> list[ImageResult]:
        """Push what is not in the registry yet; an image's failure is in its result."""
        plans = [(self._plan(image, stored), stored) for image, stored in self._stored]
        if self._options.on_failure == "atomic":
            uploads = self._each(plans, self._upload, listener)
            if any(result.error for result in uploads):
                return [ImageResult(r.plan, "cancelled") if r.state == "success" else r for r in uploads]
        return self._each(plans, self._push, listener)

    def _each(
        self,
        plans: Sequence[tuple[StoredPlan, StoredImage]],
        push: Callable[[StoredPlan, StoredImage], Optional[Manifest]],
        listener: Listener,
    ) -> list[ImageResult]:
        """``push`` for each image that the registry lacks; after a failure only if the others go on."""
        results: list[ImageResult] = []
        for plan, stored in plans:
            if plan.state == "unchanged":
                listener.line(f"{plan.image.name} is unchanged")
                results.append(ImageResult(plan, "unchanged", plan.manifest))
            elif self._options.on_failure != "continue" and any(result.error for result in results):
                results.append(ImageResult(plan, "cancelled"))
            else:
                results.append(self._tried(plan, stored, push, listener))
        return results

    def _tried(
        self,
        plan: StoredPlan,
        stored: StoredImage,
        push: Callable[[StoredPlan, StoredImage], Optional[Manifest]],
        listener: Listener,
    ) -> ImageResult:
        begun = time.monotonic()
        try:
            listener.line(f"pushing {plan.image.name}")
            found = push(plan, stored)
        except BuilderError as error:
            if isinstance(error, Cancelled):
                raise
            error.image = plan.image.name
            listener.line(f"{plan.image.name} failed")
            return ImageResult(plan, "failed", error=error, seconds=time.monotonic() - begun)
        if found is not None:
            listener.line(f"{plan.image.name} pushed as {found.digest}")
        return ImageResult(plan, "success", found, time.monotonic() - begun)

    def _plan(self, image: Image, stored: StoredImage) -> StoredPlan:
        plan = StoredPlan(
            image=image,
            resolutions=(),
            bases=(),
            injection=Injection("", {}),
            input_hash=stored.digest,
            held=tuple(stored.platforms),
        )
        if self._options.rebuild == "always":
            return replace(plan, reason="rebuild is always")
        leading: Optional[Manifest] = None
        for reference in image.references:
            manifest = self._found(reference)
            if manifest is None or manifest.digest != stored.digest:
                what = "is not in the registry" if manifest is None else "is another image"
                return replace(plan, reason=f"{reference} {what}")
            leading = leading or manifest
        missing = read.missing(self._registry, leading) if leading else []
        if missing:
            lost = ", ".join(map(str, missing))
            return replace(plan, reason=f"the registry has lost {lost} of {image.name}")
        return replace(plan, state="unchanged", reason="the registry holds it already", manifest=leading)

    def _found(self, reference: Reference) -> Optional[Manifest]:
        try:
            return read.manifest(self._registry, reference, mirrors=False)
        except RegistryError as error:
            # Some registries answer 401 or 403 for a repository that does not exist yet.
            if error.code == "manifest_unknown" or error.status in (401, 403):
                return None
            raise

    def _upload(self, plan: StoredPlan, stored: StoredImage) -> None:
        """Everything but the tags."""
        leading = plan.image.references[0]
        check_push(self._registry, leading)
        for manifest in stored.manifests:
            for digest, path in manifest.blobs.items():
                self._push_blob(leading, digest, path)
            if manifest.digest != stored.digest:
                push_manifest(self._registry, leading, manifest.media_type, manifest.body, manifest.digest)

    def _push(self, plan: StoredPlan, stored: StoredImage) -> Manifest:
        self._upload(plan, stored)
        for reference in plan.image.references:
            push_manifest(self._registry, reference, stored.media_type, stored.body)
        return confirm(self._registry, plan.image.references, stored.digest)

    def _push_blob(self, reference: Reference, digest: str, path: str) -> None:
        """Upload a blob once; other repositories of the target's registry take it from the first."""
        first = self._pushed.get(digest)
        if first != reference.repository:
            push_blob(self._registry, reference, digest, path, first)
            self._pushed.setdefault(digest, reference.repository)


def _check(image: Image, options: Options) -> None:
    wrong = [name for name in _OF_BUILDS if getattr(image, name) not in (None, {}, (), False)]
    wrong += [
        f"options.{name}" for name in ("provenance", "sbom") if getattr(options, name) not in ("off", False)
    ]
    if wrong:
        raise SourceError(
            "archive_holds_image",
            f"The archive holds an image, which is pushed as it is: {', '.join(wrong)} do not fit it.",
            hint="Leave them out, or give an archive with a Dockerfile.",
            image=image.name,
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
                image=image.name,
                platform=str(platform),
            )
    return stored.only(image.platforms) if image.platforms else stored
