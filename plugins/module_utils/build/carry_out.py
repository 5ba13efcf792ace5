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
from .planned import Head, State
from .result import ImageResult, Results

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


class Baker(Protocol):
    """Builds and pushes images, from several threads at once."""

    def check_push(self, image: Head) -> None:
        """Raise ``RegistryError`` where the registry would not take ``image``."""

    def bake(
        self, name: str, images: Sequence[Head], step: Step, *, cache: bool = True
    ) -> Mapping[str, float]:
        """Do ``step`` for all ``images``. No other bake at the same time has this ``name``.

        Without ``cache`` nothing is taken from the build cache. Gives the seconds that each took from the
        start of the bake, by name. Raises ``BuildError``, whose ``image`` is the name of the one that is to
        blame where it is known.
        """

    def pushed(self, image: Head) -> Optional[str]:
        """The digest that was pushed under all names of ``image``, if it was, also by an ended bake.

        The registry is not asked.
        """

    def confirm(self, image: Head) -> Manifest:
        """What the registry holds of ``image`` that was pushed; tags that were moved on are told of.

        Raises ``RegistryError`` where it is not known to hold what was pushed.
        """


def carry_out(
    results: Results,
    options: Options,
    baker: Optional[Baker],
    listener: Listener,
    *,
    wait: Callable[[float], object] = pause,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Build and push those images of ``results`` whose plan says so.

    ``results`` has what is known of each at any time, whatever ends the work: of an image that was pushed and
    was not asked for yet, the digest alone. ``baker`` is needed where something is pending. ``listener`` is
    told of each image and each step. An image's failure is in its result; what stops all of them is raised
    (``BuilderError``). ``wait`` and ``clock`` are those of the pauses before something is tried again, in
    seconds.
    """
    heads = [result.head for result in results.all]
    for head in heads:
        for platform in head.platforms:
            listener.event(Event(head.name, str(platform), head.state, head.reason))
    pending = [head for head in heads if head.state == "pending"]
    if options.on_failure != "continue" and results.any_failed:
        pending = []
    names = {head.name for head in pending}
    for result in results.all:
        if result.head.name not in names:
            state = "is unchanged" if result.state == "unchanged" else result.state
            listener.line(f"{result.head.name} {state}")
    if not pending:
        return
    assert baker is not None
    refused = _refused(pending, options, baker)
    for result in refused:
        results.add(result)
        listener.line(f"{result.head.name} {result.state}")
        listener.event(Event(result.head.name, "", result.state))
    done = {result.head.name for result in refused}
    pending = [head for head in pending if head.name not in done]
    for head in pending:
        listener.event(Event("", "", "started", line=f"building {head.name}: {head.reason}"))
    try:
        _Building(options, baker, listener, results, wait, clock).build(pending)
    except BaseException:
        for result in results.unfinished:
            digest = baker.pushed(result.head)
            if digest:
                results.add(ImageResult.pushed(result.head, digest))
        raise


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
        results: Results,
        wait: Callable[[float], object],
        clock: Callable[[], float],
    ) -> None:
        self._options = options
        self._baker = baker
        self._listener = listener
        self._results = results
        self._wait = wait
        self._clock = clock
        self._seconds: dict[str, float] = {}

    def build(self, images: Sequence[Head]) -> None:
        """Build and push ``images``, a portion after the other."""
        portions = [images[n : n + _MOST_TOGETHER] for n in range(0, len(images), _MOST_TOGETHER)]
        step = Step.BUILD_AND_PUSH
        if self._options.on_failure == "atomic" and len(images) > 1:
            for portion in portions:
                try:
                    self._bake("built", portion, Step.BUILD, self._patience())
                except BuildError as error:
                    self._listener.line("nothing is pushed, since not all images could be built")
                    self._blame([image for image in images if error.image in (None, image.name)], error)
                    return
            self._listener.line("all images are built; pushing them")
            step = Step.PUSH
        for portion in portions:
            if self._options.on_failure == "continue" or not self._results.any_failed:
                self._together(portion, step)

    def _together(self, images: Sequence[Head], step: Step) -> None:
        """One bake of ``images``, and what follows where it fails."""
        patience = self._patience()
        try:
            self._bake("all", images, step, patience)
        except BuildError as error:
            self._apart(images, error, patience)
        else:
            self._confirm(images)

    def _apart(self, images: Sequence[Head], error: BuildError, patience: Patience) -> None:
        """Do for ``images``, of which ``error`` ended the bake, what is left to do."""
        if len(images) == 1:
            self._blame(images, error)
            return
        self._blame([image for image in images if image.name == error.image], error)
        others = [image for image in images if image.name != error.image]
        # Some may have been pushed before that.
        done = [image for image in others if self._baker.pushed(image)]
        left = [image for image in others if image not in done]
        if self._options.on_failure != "continue" or error.code in ("engine_lost", "builder_unreachable"):
            self._confirm(done)
            self._blame(left if error.image is None else (), error)
        elif left:
            self._listener.line(
                f"failed: {error.sentence()}"
                if error.image
                else "the build failed; building each image by itself"
            )
            # What has been waited for already is not waited for once more.
            again = patience if error.code in _TEMPORARY else None
            built = side_by_side(
                [partial(self._single, number, image, again) for number, image in enumerate(left)]
            )
            self._confirm([*done, *(image for image, whether in zip(left, built) if whether)])
        else:
            self._confirm(done)

    def _single(self, number: int, image: Head, patience: Optional[Patience]) -> bool:
        """Whether ``image`` could be built and pushed by itself."""
        try:
            self._bake(f"single-{number}", [image], Step.BUILD_AND_PUSH, patience or self._patience())
        except BuildError as error:
            self._blame([image], error)
            return False
        return True

    def _patience(self) -> Patience:
        return Patience(
            self._options.retry_for,
            first=_FIRST_PAUSE_SECONDS,
            longest=_LONGEST_PAUSE_SECONDS,
            clock=self._clock,
        )

    def _bake(self, name: str, images: Sequence[Head], step: Step, patience: Patience) -> None:
        """Bake again with growing pauses while the registry fails in a way that passes.

        A step that BuildKit has lost stays lost in its cache, so then it is asked once without it.
        """

        def bake() -> None:
            try:
                self._once(name, images, step)
            except BuildError as error:
                if error.code != "step_lost":
                    raise
                self._listener.line(f"trying again without the cache: {error.sentence()}")
                self._once(name, images, step, cache=False)

        patiently(
            bake,
            BuildError,
            lambda error: patience.pause() if error.code in _TEMPORARY else None,
            tell=lambda error, seconds: self._listener.line(
                f"trying again in {seconds:.0f} s: {error.sentence()}"
            ),
            wait=self._wait,
        )

    def _once(self, name: str, images: Sequence[Head], step: Step, *, cache: bool = True) -> None:
        try:
            seconds = self._baker.bake(name, images, step, cache=cache)
        except BuildError as error:
            for image in images:
                self._ended(image, "failed" if image.name == error.image else "cancelled")
            raise
        for image in images:
            self._seconds[image.name] = self._seconds.get(image.name, 0.0) + seconds[image.name]

    def _confirm(self, images: Sequence[Head]) -> None:
        """Find out what the registry holds of ``images``, which may not be what was pushed."""

        def ask(image: Head) -> Union[Manifest, RegistryError]:
            try:
                return self._baker.confirm(image)
            except RegistryError as error:
                error.image = image.name
                return error

        for image, found in zip(images, in_parallel(ask, images)):
            if isinstance(found, RegistryError):
                self._blame([image], found)
                continue
            seconds = self._seconds.get(image.name, 0.0)
            self._results.add(ImageResult(image, "success", found, seconds))
            self._listener.line(f"{image.name} pushed as {found.digest}")
            self._ended(image, "success")

    def _blame(self, images: Sequence[Head], error: BuilderError) -> None:
        """Let ``error`` be the failure of each of ``images``."""
        for image in images:
            self._results.add(ImageResult(image, "failed", error=error))
            self._listener.line(f"{image.name} failed")
            self._ended(image, "failed")

    def _ended(self, image: Head, state: State) -> None:
        self._listener.event(Event(image.name, "", state))
