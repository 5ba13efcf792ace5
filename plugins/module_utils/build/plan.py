# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What would be built and why: bases resolved to digests, input hashes, what the registry already holds.

Making a plan changes nothing. It is what check mode shows and what ``carry_out`` carries out. Bake cannot say
beforehand what it would build, and why; so the plan is made here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Callable, Optional, TypeVar, Union

from ..dockerfile import build_args
from ..dockerfile.file import read_dockerfile
from ..dockerfile.frontend import Frontend, frontend_of
from ..dockerfile.hazards import is_fragile, refuse_hazards
from ..dockerfile.instructions import Dockerfile, parse
from ..dockerfile.overrides import Base, bases
from ..dockerfile.remote_adds import moving_adds
from ..dockerfile.rewrite import inject
from ..dockerfile.stages import Resolution, UsedImage, UsedStage, resolve_all
from ..document.options import Options
from ..document.target import Image
from ..engine import find as engines
from ..engine.find import Engine
from ..errors import BuilderError, Cancelled, DockerfileError, Place, RegistryError
from ..oci.manifest import Manifest
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..registry import read
from ..registry.client import Registry
from ..sources.context_digest import context_digest
from ..sources.dockerignore import read_ignore
from ..sources.tree import Known
from .buildkit_errors import FRONTEND_HINT
from .input_hash import Inputs
from .planned import Head, Planned, PlannedBase, PlannedImage, Recipe, Unplannable
from .unchanged import as_built, built_otherwise, compare

_T = TypeVar("_T")

# What a registry says, or does not, of an image that only the engine's own store has.
_MAY_BE_ELSEWHERE = ("manifest_unknown", "registry_unauthorized", "registry_denied", "registry_unreachable")
_REGISTRIES_HINT = (
    "Images that a build reads come from registries, not from an engine's own store: push one there first."
)


@dataclass(frozen=True)
class BuildInput:
    """A source ready to build: absolute paths of the context and the Dockerfile, and where they come from.

    ``dockerfile_name`` is what the user calls the Dockerfile. ``revision`` and ``url``
    may be empty; ``committed_at`` is in Unix seconds. What is ``known`` of it is not read
    again; without the paths it can be planned, not built. ``dockerignore`` is as in a ``SourceTree``.
    """

    context: str
    dockerfile: str
    dockerfile_name: str
    revision: str = ""
    committed_at: int = 0
    url: str = ""
    dockerignore: str = ""
    known: Optional[Known] = None

    def read_dockerfile(self) -> str:
        """The text of the Dockerfile. Raises ``OSError`` and ``DockerfileError``."""
        if self.known:
            return self.known.dockerfile
        return read_dockerfile(self.dockerfile, self.dockerfile_name)

    def read_context(self) -> str:
        """The digest of what reaches the build (see ``context_digest``). Raises ``OSError``."""
        if self.known:
            return self.known.context_digest
        return context_digest(self.context, read_ignore(self.dockerignore))


@dataclass(frozen=True)
class Plan:
    """The plan of a whole request. ``known`` is what another plan for the same source need not read again."""

    source: BuildInput
    known: Known
    engine: Engine
    images: tuple[PlannedImage, ...]

    def holds_for(self, source: BuildInput) -> bool:
        """Whether ``source`` has the Dockerfile and the context that were planned. Raises ``OSError``."""
        known = self.known
        return (source.read_dockerfile(), source.read_context()) == (known.dockerfile, known.context_digest)

    @property
    def pending(self) -> tuple[Planned, ...]:
        """The images that must be built."""
        return tuple(
            image for image in self.images if isinstance(image, Planned) and image.head.state == "pending"
        )


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
    draft = partial(_draft, dockerfile, engine=engine, source=source)
    drafts = [_or_unplannable(source, image, partial(draft, image)) for image in images]
    made = [draft for draft in drafts if isinstance(draft, _Draft)]
    lookup = _Lookup(registry, pool, [reference for draft in made for reference in draft.references])
    tree = source.read_context()

    def plan(draft: _Draft) -> Planned:
        bases, pinned = _pinned(draft.bases, lookup)
        _refuse_unknown_arguments(dockerfile, draft, lookup, registry)
        frontend = _frontend_digest(draft, lookup)
        others = [_manifest(lookup, other.reference, other.flag.line) for other in draft.others]
        inputs = Inputs(
            image=draft.image,
            options=options,
            context=tree,
            dockerfile=text,
            target=draft.resolutions[0].target_name,
            bases=tuple((base.stage, base.platform, _platform_digest(lookup, base)) for base in draft.bases),
            other_images=tuple(
                (other.platform, _digest_for(other.platform, manifest))
                for other, manifest in zip(draft.others, others)
            ),
            platforms=draft.platforms,
            builder=engine.builder,
            frontend=frontend,
            source_date_epoch=_epoch_read(dockerfile, draft.image, source),
        )
        head = Head(draft.image, draft.platforms, inputs.digest(), bases)
        pins = {
            other.flag: other.reference.with_digest(manifest.digest)
            for other, manifest in zip(draft.others, others)
        }
        recipe = Recipe(
            draft.resolutions,
            inject(dockerfile, draft.resolutions, pinned, pins),
            draft.frontend.pinned(frontend) if draft.frontend else {},
        )
        judged = compare(head, built_otherwise, options, registry)
        moving = moving_adds(dockerfile, draft.resolutions, draft.image.build_args)
        if judged.state == "unchanged" and moving:
            reason = f"what ADD on line {moving[0].line} fetches may have changed"
            judged = judged.judged("pending", reason)
        if judged.state == "pending" and is_fragile(engine.version):
            _refuse_hazardous_bases(draft, lookup, registry, engine.version)
        return Planned(as_built(judged), recipe)

    def plan_one(draft: Union[_Draft, Unplannable]) -> PlannedImage:
        if isinstance(draft, Unplannable):
            return draft
        return _or_unplannable(source, draft.image, partial(plan, draft))

    planned = tuple(pool.map(plan_one, drafts))
    known = Known(text, source.dockerfile_name, tree, source.committed_at)
    return Plan(source, known, engine, _runnable(source, engine, planned))


def _or_unplannable(source: BuildInput, image: Image, call: Callable[[], _T]) -> Union[_T, Unplannable]:
    """What ``call`` gives, or where it fails, an image that cannot be built."""
    try:
        with _located(source, image):
            return call()
    except Cancelled:
        raise
    except BuilderError as error:
        return Unplannable.of(image, error)


@dataclass(frozen=True)
class _Draft:
    image: Image
    resolutions: tuple[Resolution, ...]
    bases: tuple[Base, ...]
    frontend: Optional[Frontend]

    @property
    def platforms(self) -> tuple[Platform, ...]:
        return tuple(resolution.platform for resolution in self.resolutions)

    @property
    def others(self) -> list[UsedImage]:
        """The images that COPY --from and RUN --mount read."""
        return [image for resolution in self.resolutions for image in resolution.images]

    @property
    def references(self) -> list[Reference]:
        found = [base.reference for base in self.bases] + [other.reference for other in self.others]
        return [*found, self.frontend.reference] if self.frontend else found


class _Lookup:
    """The manifests of many references, each asked for once and all at the same time."""

    def __init__(self, registry: Registry, pool: Executor, references: Sequence[Reference]) -> None:
        def ask(reference: Reference) -> Union[Manifest, RegistryError]:
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
        return answer


@contextmanager
def _located(source: BuildInput, image: Optional[Image] = None) -> Iterator[None]:
    """Adds the image, and the Dockerfile's name and lines, to the errors of the block."""
    try:
        yield
    except BuilderError as error:
        if image is not None and error.image is None:
            error.image = image.name
        if error.line is not None and error.file is None:
            error.file = source.dockerfile_name
            error.show(source.read_dockerfile())
        raise


def _draft(dockerfile: Dockerfile, image: Image, engine: Engine, source: BuildInput) -> _Draft:
    resolutions = resolve_all(
        dockerfile,
        image.platforms or (engine.native,),
        build_args={build_args.SOURCE_DATE_EPOCH: str(source.committed_at), **image.build_args},
        build_platform=engine.native,
        target=image.target,
    )
    chosen = bases(dockerfile, resolutions, image.base)
    return _Draft(image, resolutions, chosen, frontend_of(dockerfile, image.build_args))


def _epoch_read(dockerfile: Dockerfile, image: Image, source: BuildInput) -> Optional[int]:
    """The source's time where steps may see it: files can be equal in two commits, and times are not."""
    name = build_args.SOURCE_DATE_EPOCH
    seen = name not in image.build_args and build_args.may_read(dockerfile, name)
    return source.committed_at if seen else None


def _refuse_unknown_arguments(
    dockerfile: Dockerfile, draft: _Draft, lookup: _Lookup, registry: Registry
) -> None:
    """Raise ``DockerfileError`` where neither the Dockerfile nor a base's ONBUILD knows a build argument."""
    unknown = build_args.undeclared(dockerfile, draft.image.build_args)
    pinned = {base.reference.with_digest(_platform_digest(lookup, base)) for base in draft.bases}
    for reference in sorted(pinned, key=str) if unknown else ():
        declared = build_args.declared_by(read.triggers(registry, reference))
        unknown = [name for name in unknown if name not in declared]
    build_args.refuse(unknown, dockerfile)


def _refuse_hazardous_bases(draft: _Draft, lookup: _Lookup, registry: Registry, engine_version: str) -> None:
    """Raise ``DockerfileError`` where the ONBUILD of a base would end the engine."""
    lines = {base.reference.with_digest(_platform_digest(lookup, base)): base.line for base in draft.bases}
    for reference, line in lines.items():
        for trigger in read.triggers(registry, reference):
            try:
                refuse_hazards(trigger, engine_version)
            except DockerfileError as error:
                if error.code != "dockerfile_hazard":
                    continue  # What cannot be read is BuildKit's to refuse.
                error.message = f"{reference.familiar} has in its ONBUILD: {error.message}"
                error.line = line
                raise


def _pinned(chosen: Sequence[Base], lookup: _Lookup) -> tuple[tuple[PlannedBase, ...], list[Base]]:
    """The bases with the digests that they have now, and the same bases pinned to them."""
    planned = tuple(_planned_base(lookup, base) for base in chosen)
    pinned = [replace(p.base, reference=p.base.reference.with_digest(p.digest)) for p in planned]
    return planned, pinned


def _planned_base(lookup: _Lookup, base: Base) -> PlannedBase:
    manifest = _manifest(lookup, base.reference, base.line)
    if _fitting(manifest, base.stage_platform) is None:
        raise DockerfileError(
            "base_lacks_platform",
            f"The base image {base.reference.familiar} has no {base.stage_platform}; it has "
            + ", ".join(sorted(str(platform) for platform in manifest.platforms))
            + ".",
            hint="Choose another base, or leave the platform out.",
            place=Place(platform=str(base.platform), line=base.line),
        )
    return PlannedBase(base, manifest.digest)


def _frontend_digest(draft: _Draft, lookup: _Lookup) -> str:
    """The digest of the image that reads the Dockerfile, empty for BuildKit's own."""
    if draft.frontend is None:
        return ""
    try:
        return _manifest(lookup, draft.frontend.reference, draft.frontend.line).digest
    except RegistryError as error:
        error.hint = f"{FRONTEND_HINT} {error.hint}"
        raise


def _manifest(lookup: _Lookup, reference: Reference, line: Optional[int]) -> Manifest:
    try:
        return lookup.manifest(reference)
    except RegistryError as error:
        error.line = line
        if error.code in _MAY_BE_ELSEWHERE:
            error.hint = f"{error.hint} {_REGISTRIES_HINT}".lstrip()
        raise


def _platform_digest(lookup: _Lookup, base: Base) -> str:
    """The digest for one platform, so that a base's other platforms can move without a rebuild."""
    return _digest_for(base.stage_platform, lookup.manifest(base.reference))


def _digest_for(platform: Platform, manifest: Manifest) -> str:
    """What BuildKit takes of an image for ``platform``, or all of it where that is for BuildKit to refuse."""
    fitting = _fitting(manifest, platform)
    return manifest.digest if fitting is None else manifest.platforms[fitting]


def _fitting(manifest: Manifest, wanted: Platform) -> Optional[Platform]:
    return next((platform for platform in wanted.fitting if platform in manifest.platforms), None)


def _runnable(source: BuildInput, engine: Engine, images: Sequence[PlannedImage]) -> tuple[PlannedImage, ...]:
    """The plans, failed where a step would run on a platform that the builder has no emulator for."""
    foreign = {used.platform for image in images for _, used in _running(image, engine)}
    missing = engines.not_runnable(engine, foreign)

    def checked(image: PlannedImage) -> PlannedImage:
        for platform, used in _running(image, engine):
            if used.platform in missing:
                runnable = ", ".join(map(str, missing[used.platform]))
                raise DockerfileError(
                    "platform_not_runnable",
                    f"The builder cannot run {used.platform}; it can run {runnable}.",
                    hint="Register the emulators with: ansible-playbook sodalite.image_builder.setup",
                    place=Place(platform=str(platform), line=used.stage.line),
                )
        return image

    return tuple(_or_unplannable(source, image.head.image, partial(checked, image)) for image in images)


def _running(image: PlannedImage, engine: Engine) -> list[tuple[Platform, UsedStage]]:
    """The stages that would run steps on another platform than the engine's, with the image's platform."""
    if isinstance(image, Unplannable) or image.head.state != "pending":
        return []
    return [
        (resolution.platform, used)
        for resolution in image.recipe.resolutions
        for used in resolution.stages
        if used.runs and used.platform != engine.native
    ]
