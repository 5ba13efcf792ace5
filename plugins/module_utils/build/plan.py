# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What would be built and why: bases resolved to digests, input hashes, what the registry already holds.

Making a plan changes nothing. It is what check mode shows and what ``build`` carries out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Callable, Optional, TypeVar, Union

from ..dockerfile.hazards import refuse_hazards
from ..dockerfile.instructions import Dockerfile, parse
from ..dockerfile.overrides import Base, bases
from ..dockerfile.rewrite import Injection, inject
from ..dockerfile.stages import Resolution, UsedImage, UsedStage, resolve_all
from ..document.options import Options
from ..document.target import Image
from ..engine import find as engines
from ..engine.find import Engine
from ..errors import BuilderError, Cancelled, DockerfileError, RegistryError
from ..oci.manifest import Manifest
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..registry import read
from ..registry.client import Registry
from ..sources.context_digest import DIGEST_VERSION, context_digest
from ..sources.dockerignore import read_ignore
from ..sources.tree import Known
from .input_hash import HASH_VERSION, INPUT_HASH, input_hash_of

_T = TypeVar("_T")


@dataclass(frozen=True)
class BuildInput:
    """A source ready to build: absolute paths of the context and the Dockerfile, and where they come from.

    ``dockerfile_name`` is what the user calls the Dockerfile. ``revision`` and ``url``
    may be empty; ``committed_at`` is in Unix seconds. What is ``known`` of it is not read
    again; without the paths it can be planned, not built.
    """

    context: str
    dockerfile: str
    dockerfile_name: str
    revision: str = ""
    committed_at: int = 0
    url: str = ""
    known: Optional[Known] = None

    def read_dockerfile(self) -> str:
        """The text of the Dockerfile. Raises ``OSError``."""
        if self.known:
            return self.known.dockerfile
        with open(self.dockerfile, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()

    def read_context(self) -> str:
        """The digest of what reaches the build (see ``context_digest``). Raises ``OSError``."""
        if self.known:
            return self.known.context_digest
        return context_digest(self.context, read_ignore(self.context, self.dockerfile))


@dataclass(frozen=True)
class PlannedBase:
    """A base image of one stage for one platform of the image, with the digest its reference has now."""

    base: Base
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """For results: which stage stands on what, and what the Dockerfile says there."""
        return {**self.base.to_dict(), "digest": self.digest}


@dataclass(frozen=True)
class ImagePlan:
    """One image: ``state`` is ``pending`` (to be built, for ``reason``), ``unchanged``, or ``failed``.

    An image that failed already cannot be built, because of ``error``, and has nothing else.

    ``resolutions`` are what its build uses, one for each platform; ``injection`` makes BuildKit use
    the ``bases``. ``manifest`` is what the registry holds under its leading reference, if it is unchanged.
    """

    image: Image
    resolutions: tuple[Resolution, ...]
    bases: tuple[PlannedBase, ...]
    injection: Injection
    input_hash: str
    state: str = "pending"
    reason: str = ""
    manifest: Optional[Manifest] = None
    error: Optional[BuilderError] = None

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """The platforms it is built for."""
        return tuple(resolution.platform for resolution in self.resolutions)


@dataclass(frozen=True)
class Plan:
    """The plan of a whole request. ``known`` is what another plan for the same source need not read again."""

    source: BuildInput
    known: Known
    engine: Engine
    images: tuple[ImagePlan, ...]

    @property
    def pending(self) -> tuple[ImagePlan, ...]:
        """The images that must be built."""
        return tuple(plan for plan in self.images if plan.state == "pending")


def make_plan(
    source: BuildInput,
    images: Sequence[Image],
    options: Options,
    engine: Engine,
    registry: Registry,
    pool: Executor,
) -> Plan:
    """Plan ``images`` of ``source``, asking registries in ``pool``.

    What is wrong with one image is in its plan. Raises ``DockerfileError`` and ``EngineError`` for what
    concerns all of them.
    """
    text = source.read_dockerfile()
    with _located(source):
        dockerfile = parse(text)
        refuse_hazards(text, engine.version)
    drafts = [_own(source, image, partial(_draft, dockerfile, image, engine)) for image in images]
    made = [draft for draft in drafts if isinstance(draft, _Draft)]
    lookup = _Lookup(registry, pool, [reference for draft in made for reference in draft.references])
    tree = source.read_context()

    def plan_one(draft: Union[_Draft, ImagePlan]) -> ImagePlan:
        if isinstance(draft, ImagePlan):
            return draft
        planned = partial(_plan, dockerfile, draft, tree, options, engine, lookup)
        return _own(source, draft.image, planned)

    def compare(plan: ImagePlan) -> ImagePlan:
        return plan if plan.error else _own(source, plan.image, partial(_compared, plan, options, registry))

    compared = tuple(pool.map(compare, map(plan_one, drafts)))
    known = Known(text, source.dockerfile_name, tree, source.committed_at)
    return Plan(source, known, engine, _runnable(source, engine, compared))


def _own(source: BuildInput, image: Image, call: Callable[[], _T]) -> Union[_T, ImagePlan]:
    """What ``call`` gives, or where it fails, the plan of an image that cannot be built."""
    try:
        with _located(source, image):
            return call()
    except Cancelled:
        raise
    except BuilderError as error:
        return ImagePlan(
            image, (), (), Injection("", {}), "", state="failed", reason="it cannot be planned", error=error
        )


@dataclass(frozen=True)
class _Draft:
    image: Image
    resolutions: tuple[Resolution, ...]
    bases: tuple[Base, ...]

    @property
    def others(self) -> list[UsedImage]:
        """The images that COPY --from and RUN --mount read."""
        return [image for resolution in self.resolutions for image in resolution.images]

    @property
    def references(self) -> list[Reference]:
        return [base.reference for base in self.bases] + [other.reference for other in self.others]


class _Lookup:
    """The manifests of many references, each asked for once and all at the same time."""

    def __init__(self, registry: Registry, pool: Executor, references: Sequence[Reference]) -> None:
        def ask(reference: Reference) -> Any:
            try:
                return read.manifest(registry, reference)
            except RegistryError as error:
                return error

        distinct = sorted(set(references), key=str)
        self._answers = dict(zip(distinct, pool.map(ask, distinct)))

    def manifest(self, reference: Reference) -> Manifest:
        answer = self._answers[reference]
        if isinstance(answer, RegistryError):
            # Each image has an error of its own, with its own place.
            raise answer.copy()
        found: Manifest = answer
        return found


@contextmanager
def _located(source: BuildInput, image: Optional[Image] = None) -> Iterator[None]:
    """Adds the image and the Dockerfile's name to the errors of the block."""
    try:
        yield
    except BuilderError as error:
        if image is not None and error.image is None:
            error.image = image.name
        if error.line is not None and error.file is None:
            error.file = source.dockerfile_name
        raise


def _draft(dockerfile: Dockerfile, image: Image, engine: Engine) -> _Draft:
    resolutions = resolve_all(
        dockerfile,
        image.platforms or (engine.native,),
        build_args=image.build_args,
        build_platform=engine.native,
        target=image.target,
    )
    return _Draft(image, resolutions, bases(dockerfile, resolutions, image.base))


def _plan(
    dockerfile: Dockerfile, draft: _Draft, tree: str, options: Options, engine: Engine, lookup: _Lookup
) -> ImagePlan:
    planned = [_planned_base(lookup, base) for base in draft.bases]
    pinned = [replace(p.base, reference=p.base.reference.with_digest(p.digest)) for p in planned]
    image = draft.image
    digest = input_hash_of(
        {
            "version": HASH_VERSION,
            "context": [DIGEST_VERSION, tree],
            "dockerfile": dockerfile.text,
            "bases": [
                [p.base.stage, str(p.base.platform), _platform_digest(lookup, p.base)] for p in planned
            ],
            "other_images": [_base_manifest(lookup, o.reference, o.line).digest for o in draft.others],
            "platforms": sorted(str(resolution.platform) for resolution in draft.resolutions),
            "build_args": dict(image.build_args),
            "target": image.target,
            "labels": dict(image.labels),
            "annotations": dict(image.annotations),
            "builder": engine.builder,
            "attestations": [options.provenance, options.sbom],
        }
    )
    injection = inject(dockerfile, draft.resolutions, pinned)
    return ImagePlan(image, draft.resolutions, tuple(planned), injection, digest)


def _planned_base(lookup: _Lookup, base: Base) -> PlannedBase:
    manifest = _base_manifest(lookup, base.reference, base.line)
    if _fitting(manifest, base.stage_platform) is None:
        raise DockerfileError(
            "base_lacks_platform",
            f"The base image {base.reference.familiar} has no {base.stage_platform}; it has "
            + ", ".join(sorted(str(platform) for platform in manifest.platforms))
            + ".",
            hint="Choose another base, or leave the platform out.",
            platform=str(base.platform),
            line=base.line,
        )
    return PlannedBase(base, manifest.digest)


def _base_manifest(lookup: _Lookup, reference: Reference, line: int) -> Manifest:
    try:
        return lookup.manifest(reference)
    except RegistryError as error:
        error.line = line
        raise


def _platform_digest(lookup: _Lookup, base: Base) -> str:
    """The digest for one platform, so that a base's other platforms can move without a rebuild."""
    manifest = lookup.manifest(base.reference)
    platform = _fitting(manifest, base.stage_platform)
    assert platform is not None
    return manifest.platforms[platform]


def _fitting(manifest: Manifest, wanted: Platform) -> Optional[Platform]:
    return next((platform for platform in wanted.fitting if platform in manifest.platforms), None)


def _compared(plan: ImagePlan, options: Options, registry: Registry) -> ImagePlan:
    """The plan with its state: unchanged where every tag stands in the registry with this input hash."""
    if options.rebuild == "always":
        return _with_state(plan, "pending", "rebuild is always")
    if plan.image.no_cache:
        return _with_state(plan, "pending", "no_cache is set")
    leading: Optional[Manifest] = None
    for reference in plan.image.references:
        try:
            manifest = read.manifest(registry, reference, mirrors=False)
        except RegistryError as error:
            if error.code == "manifest_unknown":
                return _with_state(plan, "pending", f"{reference} is not in the registry")
            if error.status in (401, 403):
                # Some registries answer so for a repository that does not exist yet; whether
                # pushing is allowed is found out before the build.
                return _with_state(plan, "pending", f"{reference} cannot be read from the registry")
            error.image = plan.image.name
            raise
        if manifest.annotations.get(INPUT_HASH) != plan.input_hash:
            return _with_state(plan, "pending", f"{reference} was built from other inputs")
        if set(manifest.platforms) != set(plan.platforms):
            return _with_state(plan, "pending", f"{reference} has other platforms")
        leading = leading or manifest
        if manifest.digest != leading.digest:
            return _with_state(plan, "pending", f"{reference} is another build than {plan.image.name}")
    missing = read.missing(registry, leading) if leading else []
    if missing:
        lost = ", ".join(map(str, missing))
        return _with_state(plan, "pending", f"the registry has lost {lost} of {plan.image.name}")
    return _with_state(plan, "unchanged", "the registry holds it already", leading)


def _with_state(plan: ImagePlan, state: str, reason: str, manifest: Optional[Manifest] = None) -> ImagePlan:
    return replace(plan, state=state, reason=reason, manifest=manifest)


def _runnable(source: BuildInput, engine: Engine, images: Sequence[ImagePlan]) -> tuple[ImagePlan, ...]:
    """The plans, failed where a step would run on a platform that the builder has no emulator for."""
    foreign = {
        used.platform for image in images if image.state == "pending" for _, used in _running(image, engine)
    }
    missing = engines.not_runnable(engine, foreign)
    return tuple(
        _own(source, image.image, partial(_checked, image, engine, missing))
        if image.state == "pending"
        else image
        for image in images
    )


def _running(image: ImagePlan, engine: Engine) -> list[tuple[Platform, UsedStage]]:
    """The stages that run steps on another platform than the engine's, with the image's platform."""
    return [
        (resolution.platform, used)
        for resolution in image.resolutions
        for used in resolution.stages
        if used.runs and used.platform != engine.native
    ]


def _checked(image: ImagePlan, engine: Engine, missing: Mapping[Platform, Sequence[Platform]]) -> ImagePlan:
    for platform, used in _running(image, engine):
        if used.platform in missing:
            runnable = ", ".join(map(str, missing[used.platform]))
            raise DockerfileError(
                "platform_not_runnable",
                f"The builder cannot run {used.platform}; it can run {runnable}.",
                hint="Register the emulators with: ansible-playbook sodalite.image_builder.setup",
                platform=str(platform),
                line=used.stage.line,
            )
    return image
