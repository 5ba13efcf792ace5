# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Carrying out a plan: which images are baked together, which once more, and what follows from a failure.

All images of a request are one bake, or one for each portion of many. BuildKit ends a bake at the first
error. Then the images that were not to blame are built once more, each by itself and all at the same
time: what was done comes from the cache. Where no tag may change unless all images are built, one bake
builds them and a second one pushes what is in the cache: the docker driver cannot push by digest.

This is the policy alone. How a bake is run, and what a registry says, is left to a ``Baker``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Callable, Optional, Protocol, Union

from ..document.options import Options
from ..errors import BuilderError, BuildError, RegistryError
from ..listener import Event, Listener
from ..oci.manifest import Manifest
from ..parallel import in_parallel
from ..process import pause, side_by_side
from ..retry import Patience, patiently
from .planned import Head, PlannedImage, State
from .result import ImageResult

_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 20.0
# Codes of what may pass while a build goes on.
_TEMPORARY = ("push_failed", "base_unreachable")
# BuildKit gives up on some of a hundred images built and pushed at once: "context deadline exceeded".
_MOST_TOGETHER = 20


class Step(Enum):
    """What a bake does: build into the cache, push what the cache holds, or both."""

    BUILD = "build"
    PUSH = "push"
    BUILD_AND_PUSH = "build_and_push"


@dataclass(frozen=True)
class Baked:
    """What one bake did to its images, by name.

    ``seconds`` is how long each took, from the start of the bake. Where it pushed, ``pushed`` is what the
    registry holds of each, or why it is not known to hold what was pushed.
    """

    seconds: Mapping[str, float]
    pushed: Mapping[str, Union[Manifest, RegistryError]] = field(default_factory=dict)


class Baker(Protocol):
    """Builds and pushes images, from several threads at once."""

    def check_push(self, image: Head) -> None:
        """Raise ``RegistryError`` where the registry would not take ``image``."""

    def bake(self, name: str, images: Sequence[Head], step: Step, *, cache: bool = True) -> Baked:
        """Do ``step`` for all ``images``. No other bake at the same time has this ``name``.

        Without ``cache`` nothing is taken from the build cache. Raises ``BuildError``, whose ``image``
        is the name of the one that is to blame where it is known.
        """

    def pushed(self, image: Head) -> Optional[Manifest]:
        """What an ended bake pushed of ``image`` all the same, if that is all of it."""


def carry_out(
    images: Sequence[PlannedImage],
    options: Options,
    baker: Optional[Baker],
    listener: Listener,
    *,
    wait: Callable[[float], object] = pause,
    clock: Callable[[], float] = time.monotonic,
) -> list[ImageResult]:
    """Build and push the pending ones of ``images``; the results are in the same order.

    ``baker`` is needed where something is pending. ``listener`` is told of each image and each step. An
    image's failure is in its result; what stops all of them is raised (``BuilderError``). ``wait`` and
    ``clock`` are those of the pauses before something is tried again, in seconds.
    """
    for image in images:
        for platform in image.head.platforms:
            listener.event(Event(image.head.name, str(platform), image.head.state, image.head.reason))
    planned = [ImageResult.planned(image) for image in images]
    ended = [result for result in planned if result.state != "pending"]
    pending = [result.head for result in planned if result.state == "pending"]
    if options.on_failure != "continue" and any(result.error for result in ended):
        ended += _cancelled(pending)
        pending = []
    for result in ended:
        listener.line(f"{result.head.name} {'is unchanged' if result.state == 'unchanged' else result.state}")
    done = {result.head.name: result for result in ended}
    if not pending:
        return [done[image.head.name] for image in images]
    assert baker is not None
    refused = _refused(pending, options, baker)
    for result in refused:
        listener.line(f"{result.head.name} {result.state}")
        listener.event(Event(result.head.name, "", result.state))
    done.update({result.head.name: result for result in refused})
    pending = [head for head in pending if head.name not in done]
    for head in pending:
        listener.event(Event("", "", "started", line=f"building {head.name}: {head.reason}"))
    building = _Building(options, baker, listener, wait, clock)
    done.update({result.head.name: result for result in building.build(pending)})
    return [done[image.head.name] for image in images]


def _refused(images: Sequence[Head], options: Options, baker: Baker) -> list[ImageResult]:
    """The results of the images that are not built, because the registry would not take one of them."""
    waited = threading.Event()

    def refusal(image: Head) -> Optional[RegistryError]:
        if waited.is_set():
            return None
        try:
            baker.check_push(image)
        except RegistryError as error:
            error.image = image.name
            if error.code == "registry_unreachable":
                raise
            if error.retryable:
                waited.set()
            return error
        return None

    refused: list[ImageResult] = []
    busy = False
    for image, error in zip(images, in_parallel(refusal, images)):
        # A registry that is busy was waited for as long as may be. The others are not asked to wait in turn,
        # nor taken for refused: they find out when they are pushed.
        if error is None or (busy and error.retryable):
            continue
        busy = busy or error.retryable
        refused.append(ImageResult(image, "failed", error=error))
    if not refused or options.on_failure == "continue":
        return refused
    failed = {result.head.name for result in refused}
    return refused + _cancelled([image for image in images if image.name not in failed])


def _cancelled(images: Sequence[Head]) -> list[ImageResult]:
    return [ImageResult(image, "cancelled") for image in images]


class _Building:
    """The bakes of one request."""

    def __init__(
        self,
        options: Options,
        baker: Baker,
        listener: Listener,
        wait: Callable[[float], object],
        clock: Callable[[], float],
    ) -> None:
        self._options = options
        self._baker = baker
        self._listener = listener
        self._wait = wait
        self._clock = clock
        self._seconds: dict[str, float] = {}

    def build(self, images: Sequence[Head]) -> list[ImageResult]:
        """Build and push ``images``, a portion after the other."""
        portions = [images[n : n + _MOST_TOGETHER] for n in range(0, len(images), _MOST_TOGETHER)]
        step = Step.BUILD_AND_PUSH
        if self._options.on_failure == "atomic" and len(images) > 1:
            for portion in portions:
                try:
                    self._bake("built", portion, Step.BUILD, self._patience())
                except BuildError as error:
                    self._listener.line("nothing is pushed, since not all images could be built")
                    return [self._unpushed(image, error) for image in images]
            self._listener.line("all images are built; pushing them")
            step = Step.PUSH
        results: list[ImageResult] = []
        for portion in portions:
            if self._options.on_failure != "continue" and any(result.error for result in results):
                results += _cancelled(portion)
            else:
                results += self._together(portion, step)
        return results

    def _together(self, images: Sequence[Head], step: Step) -> list[ImageResult]:
        """One bake of ``images``, and what follows where it fails."""
        patience = self._patience()
        try:
            baked = self._bake("all", images, step, patience)
        except BuildError as error:
            return self._apart(images, error, patience)
        return [self._pushed(image, baked) for image in images]

    def _apart(self, images: Sequence[Head], error: BuildError, patience: Patience) -> list[ImageResult]:
        """What becomes of each of ``images``, of which ``error`` ended the bake."""
        if len(images) == 1:
            return [self._failed(images[0], error)]
        again = [image for image in images if image.name != error.image]
        if self._options.on_failure != "continue" or error.code in ("engine_lost", "builder_unreachable"):
            results = [self._stopped(image, None if error.image else error) for image in again]
        else:
            self._listener.line(
                f"failed: {error.sentence()}"
                if error.image
                else "the build failed; building each image by itself"
            )
            # What has been waited for already is not waited for once more.
            left = patience if error.code in _TEMPORARY else None
            results = side_by_side(
                [partial(self._single, number, image, left) for number, image in enumerate(again)]
            )
        done = {result.head.name: result for result in results}
        return [done.get(image.name) or self._failed(image, error) for image in images]

    def _single(self, number: int, image: Head, patience: Optional[Patience]) -> ImageResult:
        try:
            name = f"single-{number}"
            baked = self._bake(name, [image], Step.BUILD_AND_PUSH, patience or self._patience())
        except BuildError as error:
            return self._failed(image, error)
        return self._pushed(image, baked)

    def _patience(self) -> Patience:
        return Patience(
            self._options.retry_for,
            first=_FIRST_PAUSE_SECONDS,
            longest=_LONGEST_PAUSE_SECONDS,
            clock=self._clock,
        )

    def _bake(self, name: str, images: Sequence[Head], step: Step, patience: Patience) -> Baked:
        """Bake again with growing pauses while the registry fails in a way that passes.

        A step that BuildKit has lost stays lost in its cache, so then it is asked once without it.
        """

        def bake() -> Baked:
            try:
                return self._once(name, images, step)
            except BuildError as error:
                if error.code != "step_lost":
                    raise
                self._listener.line(f"trying again without the cache: {error.sentence()}")
            return self._once(name, images, step, cache=False)

        return patiently(
            bake,
            BuildError,
            lambda error: patience.pause() if error.code in _TEMPORARY else None,
            tell=lambda error, seconds: self._listener.line(
                f"trying again in {seconds:.0f} s: {error.sentence()}"
            ),
            wait=self._wait,
        )

    def _once(self, name: str, images: Sequence[Head], step: Step, *, cache: bool = True) -> Baked:
        try:
            baked = self._baker.bake(name, images, step, cache=cache)
        except BuildError as error:
            for image in images:
                self._ended(image, "failed" if image.name == error.image else "cancelled")
            raise
        for image in images:
            self._seconds[image.name] = self._seconds.get(image.name, 0.0) + baked.seconds[image.name]
        return baked

    def _pushed(self, image: Head, baked: Baked) -> ImageResult:
        """The image as it stands in the registry, which may not hold what was pushed."""
        held = baked.pushed[image.name]
        if isinstance(held, RegistryError):
            held.image = image.name
            return self._failed(image, held)
        self._listener.line(f"{image.name} pushed as {held.digest}")
        self._ended(image, "success")
        return ImageResult(image, "success", held, self._seconds[image.name])

    def _unpushed(self, image: Head, error: BuilderError) -> ImageResult:
        """An image of which nothing was pushed since ``error`` ended the build of all."""
        if error.image in (None, image.name):
            return self._failed(image, error)
        return ImageResult(image, "cancelled")

    def _stopped(self, image: Head, error: Optional[BuilderError]) -> ImageResult:
        """An image when another one's failure ended the build: it may have been pushed before that."""
        manifest = self._baker.pushed(image)
        if manifest is not None:
            return ImageResult(image, "success", manifest)
        return self._failed(image, error) if error else ImageResult(image, "cancelled")

    def _failed(self, image: Head, error: BuilderError) -> ImageResult:
        self._listener.line(f"{image.name} failed")
        self._ended(image, "failed")
        return ImageResult(image, "failed", error=error)

    def _ended(self, image: Head, state: State) -> None:
        self._listener.event(Event(image.name, "", state))
