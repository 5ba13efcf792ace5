# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Carrying out a plan: one bake for all images of a request, or for each portion of many, pushed by BuildKit.

BuildKit ends a bake at the first error. Then the images that were not to blame are built
once more, each by itself and all at the same time: what was done comes from the cache. Where
no tag may change unless all images are built, one bake builds them and a second one pushes
what is in the cache: the docker driver cannot push by digest.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Optional

from ..docker_config import docker_config_folder
from ..document.options import Options
from ..engine.find import Engine, environment, rewrites_timestamps
from ..errors import BuilderError, RegistryError
from ..listener import Event, Listener
from ..process import run
from ..registry import read
from ..registry.client import Registry
from ..registry.confirm import confirm
from ..registry.credentials import docker_config
from ..registry.push import check_push
from ..retry import Patience
from ..secret import Secret, redact
from .access import Access
from .annotations import describe
from .bake_file import Target, attestations, bake_file, secret_environment, secrets
from .buildkit_errors import build_failure
from .buildkit_progress import Outcome, Reader
from .input_hash import INPUT_HASH
from .plan import ImagePlan, Plan
from .result import ImageResult

_FIRST_PAUSE_SECONDS = 2.0
_LONGEST_PAUSE_SECONDS = 20.0
# Codes of what may pass while a build goes on.
_TEMPORARY = ("push_failed", "base_unreachable")
# BuildKit gives up on some of a hundred images built and pushed at once: "context deadline exceeded".
_MOST_TOGETHER = 20


def carry_out(
    plan: Plan,
    options: Options,
    access: Access,
    registry: Registry,
    folder: str,
    listener: Listener,
) -> list[ImageResult]:
    """Build and push the pending images of ``plan``; the results are in the plan's order.

    ``folder`` is a private directory for files that the build needs; none of them stays there.
    ``listener`` is told of each image and each step.
    An image's failure is in its result; what stops all of them is raised (``BuilderError``).
    """
    done = {
        id(p): ImageResult(p, p.state, p.manifest, error=p.error) for p in plan.images if p.state != "pending"
    }
    pending = plan.pending
    if options.on_failure != "continue" and any(result.error for result in done.values()):
        done.update({id(image): ImageResult(image, "cancelled") for image in pending})
        pending = ()
    for image in plan.images:
        for platform in image.platforms:
            listener.event(Event(image.image.name, str(platform), image.state, image.reason))
    for result in done.values():
        listener.line(
            f"{result.plan.image.name} {'is unchanged' if result.state == 'unchanged' else result.state}"
        )
    unbuilt = _unbuilt(pending, options, registry)
    for result in unbuilt:
        done[id(result.plan)] = result
        listener.line(f"{result.plan.image.name} {result.state}")
        listener.event(Event(result.plan.image.name, "", result.state))
    pending = tuple(image for image in pending if id(image) not in done)
    for image in pending:
        line = f"building {image.image.name}: {image.reason}"
        listener.event(Event("", "", "started", line=line))
    if pending:
        # Without a commit there is no time to give the files.
        rewrite = bool(plan.source.committed_at) and rewrites_timestamps(plan.engine)
        if plan.source.committed_at and not rewrite:
            listener.line(
                "this builder cannot give files the commit's time: another engine gives other digests"
            )
        with tempfile.TemporaryDirectory(dir=folder) as own:
            attempt = _Attempt(plan, options, access, registry, own, listener, rewrite)
            for result in attempt.build(pending):
                done[id(result.plan)] = result
    return [done[id(image)] for image in plan.images]


def _unbuilt(images: Sequence[ImagePlan], options: Options, registry: Registry) -> list[ImageResult]:
    """The results of the images that are not built, because the registry would not take one of them."""
    refused = []
    for image in images:
        try:
            check_push(registry, image.image.references[0])
        except RegistryError as error:
            error.image = image.image.name
            if error.code == "registry_unreachable":
                raise
            refused.append(ImageResult(image, "failed", error=error))
            if error.retryable:
                # It was waited for as long as may be. The others are not asked to wait in turn: they
                # find out when they are pushed.
                break
    if not refused or options.on_failure == "continue":
        return refused
    failed = {id(result.plan) for result in refused}
    return refused + [ImageResult(image, "cancelled") for image in images if id(image) not in failed]


@dataclass(frozen=True)
class _Baked:
    """How one bake ended: the results of all its images, or the error."""

    results: list[ImageResult]
    error: Optional[BuilderError]


class _Step(NamedTuple):
    """What a bake does of the two."""

    build: bool
    push: bool


class _Redacting:
    """Keeps secrets out of what a listener is told."""

    def __init__(self, listener: Listener, secrets: Sequence[Secret]) -> None:
        self._listener = listener
        self._secrets = secrets

    def line(self, text: str) -> None:
        self._listener.line(redact(text, self._secrets))

    def event(self, event: Event) -> None:
        text, line = redact(event.text, self._secrets), redact(event.line, self._secrets)
        self._listener.event(replace(event, text=text, line=line))


class _Attempt:
    """The files and settings that all bakes of one request share."""

    def __init__(
        self,
        plan: Plan,
        options: Options,
        access: Access,
        registry: Registry,
        folder: str,
        listener: Listener,
        rewrite_timestamps: bool,
    ) -> None:
        self._plan = plan
        self._options = options
        self._registry = registry
        self._folder = folder
        self._listener = listener
        self._rewrite_timestamps = rewrite_timestamps
        self._access = access
        self._dockerfiles: dict[str, str] = {}
        self._before: dict[int, Optional[str]] = {}
        self._seconds: dict[int, float] = {}
        self._environment = self._write_environment(plan.engine)

    def build(self, images: Sequence[ImagePlan]) -> list[ImageResult]:
        """Build ``images`` together; after a failure, those not to blame once more by themselves."""
        self._before = {id(image): self._digest(image) for image in images}
        portions = [images[n : n + _MOST_TOGETHER] for n in range(0, len(images), _MOST_TOGETHER)]
        step = _Step(build=True, push=True)
        if self._options.on_failure == "atomic" and len(images) > 1:
            for portion in portions:
                error = self._bake_patiently("built", portion, _Step(build=True, push=False)).error
                if error is not None:
                    self._listener.line("nothing is pushed, since not all images could be built")
                    return [self._unpushed(image, error) for image in images]
            self._listener.line("all images are built; pushing them")
            step = _Step(build=False, push=True)
        results: list[ImageResult] = []
        for portion in portions:
            if self._options.on_failure != "continue" and any(result.error for result in results):
                results += [ImageResult(image, "cancelled") for image in portion]
            else:
                results += self._together(portion, step)
        return results

    def _together(self, images: Sequence[ImagePlan], step: _Step) -> list[ImageResult]:
        """One bake of ``images``, and what follows where it fails."""
        patience = self._patience()
        baked = self._bake_patiently("all", images, step, patience)
        error = baked.error
        if error is None:
            return baked.results
        if len(images) == 1:
            return [self._failed(images[0], error)]
        blamed = error.image
        again = [image for image in images if image.image.name != blamed]
        if self._options.on_failure != "continue" or error.code == "engine_lost":
            singles = [self._stopped(image, None if blamed else error) for image in again]
        else:
            self._listener.line(
                f"failed: {error}" if blamed else "the build failed; building each image by itself"
            )
            with ThreadPoolExecutor(len(again)) as pool:
                # What has been waited for already is not waited for once more.
                left = patience if error.code in _TEMPORARY else None
                singles = list(pool.map(partial(self._single, patience=left), range(len(again)), again))
        by_plan = {id(result.plan): result for result in singles}
        return [by_plan.get(id(image)) or self._failed(image, error) for image in images]

    def _single(self, number: int, image: ImagePlan, patience: Optional[Patience]) -> ImageResult:
        baked = self._bake_patiently(f"single-{number}", [image], _Step(build=True, push=True), patience)
        return baked.results[0] if baked.error is None else self._failed(image, baked.error)

    def _unpushed(self, image: ImagePlan, error: BuilderError) -> ImageResult:
        """An image of which nothing was pushed since ``error`` ended the build of all."""
        if error.image in (None, image.image.name):
            return self._failed(image, error)
        return ImageResult(image, "cancelled")

    def _stopped(self, image: ImagePlan, error: Optional[BuilderError]) -> ImageResult:
        """An image when another one's failure ended the build: it may have been pushed before that."""
        digest = self._digest(image)
        if digest is not None and digest != self._before[id(image)]:
            with suppress(RegistryError):
                manifest = confirm(self._registry, image.image.references, digest, image.platforms)
                if manifest.annotations.get(INPUT_HASH) == image.input_hash:
                    return ImageResult(image, "success", manifest)
        return self._failed(image, error) if error else ImageResult(image, "cancelled")

    def _digest(self, image: ImagePlan) -> Optional[str]:
        """What the image's leading tag names now; ``None`` also where the registry does not say."""
        with suppress(RegistryError):
            return read.digest(self._registry, image.image.references[0], mirrors=False)
        return None

    def _failed(self, image: ImagePlan, error: BuilderError) -> ImageResult:
        self._listener.line(f"{image.image.name} failed")
        self._ended(image, "failed")
        return ImageResult(image, "failed", error=error)

    def _patience(self) -> Patience:
        return Patience(self._options.retry_for, first=_FIRST_PAUSE_SECONDS, longest=_LONGEST_PAUSE_SECONDS)

    def _bake_patiently(
        self, name: str, images: Sequence[ImagePlan], step: _Step, patience: Optional[Patience] = None
    ) -> _Baked:
        """Bake again with growing pauses while the registry fails in a way that passes.

        A step that BuildKit has lost stays lost in its cache, so then it is asked once without it.
        """
        patience = patience or self._patience()
        while True:
            baked = self._bake(name, images, step)
            if baked.error is not None and baked.error.code == "step_lost":
                self._listener.line(f"trying again without the cache: {baked.error}")
                baked = self._bake(name, images, step, "--no-cache")
            again = baked.error is not None and baked.error.code in _TEMPORARY
            pause = patience.pause() if again else None
            if pause is None:
                return baked
            self._listener.line(f"trying again in {pause:.0f} s: {baked.error}")
            time.sleep(pause)

    def _bake(self, name: str, images: Sequence[ImagePlan], step: _Step, *options: str) -> _Baked:
        """One bake, with more ``options`` of buildx. The error names the image to blame where it is known."""
        targets = [self._target(f"image-{number}", image, step) for number, image in enumerate(images)]
        names = {target.key: target.image.name for target in targets}
        file = self._write_json(f"{name}.json", bake_file(self._plan.source.context, targets))
        metadata = os.path.join(self._folder, f"{name}.metadata.json")
        builder = self._plan.engine.builder
        hidden = [*secrets(targets), *self._access.secrets]
        reader = Reader(names, _Redacting(self._listener, hidden))
        argv = [
            *self._plan.engine.command,
            "bake",
            *(["--builder", builder] if builder else []),
            "--file",
            file,
            "--metadata-file",
            metadata,
            "--progress",
            "rawjson",
            *options,
        ]

        result = run(
            argv,
            env={**self._environment, **secret_environment(targets)},
            cwd=self._folder,
            on_stderr_line=reader.feed,
        )
        outcome = reader.outcome(result.status)
        if result.status:
            error = self._explained(outcome, names, hidden)
            for image in images:
                self._ended(image, "failed" if image.image.name == error.image else "cancelled")
            return _Baked([], error)
        for target, image in zip(targets, images):
            self._seconds[id(image)] = self._seconds.get(id(image), 0.0) + outcome.seconds(target.key)
        if not step.push:
            return _Baked([], None)
        with open(metadata, encoding="utf-8") as content:
            digests = {
                key: entry.get("containerimage.digest", "") for key, entry in json.load(content).items()
            }
        results = [
            self._confirmed(image, digests.get(target.key, "")) for target, image in zip(targets, images)
        ]
        return _Baked(results, None)

    def _ended(self, image: ImagePlan, state: str) -> None:
        self._listener.event(Event(image.image.name, "", state))

    def _explained(self, outcome: Outcome, names: dict[str, str], hidden: list[Any]) -> BuilderError:
        error = build_failure(outcome, names, self._plan.source.dockerfile_name)
        error.message = redact(error.message, hidden)
        error.args = (error.message,)
        return error

    def _confirmed(self, image: ImagePlan, digest: str) -> ImageResult:
        """The image as it stands in the registry, which may not hold what was pushed."""
        try:
            manifest = confirm(self._registry, image.image.references, digest, image.platforms)
        except RegistryError as error:
            error.image = image.image.name
            return self._failed(image, error)
        self._listener.line(f"{image.image.name} pushed as {digest}")
        self._ended(image, "success")
        return ImageResult(image, "success", manifest, self._seconds[id(image)])

    def _target(self, key: str, image: ImagePlan, step: _Step) -> Target:
        return Target(
            key=key,
            image=image.image,
            dockerfile=self._write_dockerfile(image.injection.text),
            stage=image.resolutions[0].target_name,
            platforms=image.platforms,
            contexts=image.injection.contexts,
            description=describe(self._plan.source, image),
            input_hash={INPUT_HASH: image.input_hash},
            attest=attestations(self._options),
            source_date_epoch=self._plan.source.committed_at,
            push=step.push,
            cached=not step.build,
            rewrite_timestamps=self._rewrite_timestamps,
        )

    def _write_dockerfile(self, text: str) -> str:
        """The path of a Dockerfile with ``text``, beside what the source's own has as ``.dockerignore``."""
        path = self._dockerfiles.get(text)
        if path is None:
            folder = os.path.join(self._folder, str(len(self._dockerfiles)))
            os.mkdir(folder)
            path = self._dockerfiles[text] = os.path.join(folder, "Dockerfile")
            with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                file.write(text)
            ignore = f"{self._plan.source.dockerfile}.dockerignore"
            if os.path.isfile(ignore) and not os.path.islink(ignore):
                shutil.copyfile(ignore, f"{path}.dockerignore")
        return path

    def _write_environment(self, engine: Engine) -> dict[str, str]:
        """An own ``DOCKER_CONFIG``, and the user's contexts and builders where they are used."""
        user = docker_config_folder()
        own = os.path.join(self._folder, "docker")
        os.mkdir(own, 0o700)
        config = docker_config(self._access.logins, self._access.user_config)
        contexts = os.path.join(user, "contexts")
        if os.path.isdir(contexts):
            os.symlink(contexts, os.path.join(own, "contexts"))
        self._write_json(os.path.join("docker", "config.json"), config)
        state = os.environ.get("BUILDX_CONFIG") or os.path.join(user, "buildx")
        env = environment(engine)
        for name in ("BUILDX_BUILDER", "BUILDX_BAKE_FILE", "SOURCE_DATE_EPOCH"):
            env.pop(name, None)
        return {
            **env,
            "DOCKER_CONFIG": own,
            "BUILDX_CONFIG": state if engine.builder else os.path.join(own, "buildx"),
            "BUILDX_BAKE_ENTITLEMENTS_FS": "0",
        }

    def _write_json(self, name: str, content: Any) -> str:
        path = os.path.join(self._folder, name)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
        return path
