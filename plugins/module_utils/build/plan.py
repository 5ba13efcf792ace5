# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What would be built and why: bases resolved to digests, input hashes, what the registry already holds.

Making a plan changes nothing. It is what check mode shows and what ``carry_out`` carries out. Bake cannot say
beforehand what it would build, and why; so the plan is made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Optional, Union

from ..dockerfile import build_args
from ..dockerfile.frontend import FRONTEND_HINT
from ..dockerfile.hazards import is_fragile, refuse_hazards
from ..dockerfile.instructions import Dockerfile, parse
from ..dockerfile.labels import stale
from ..dockerfile.overrides import Base
from ..dockerfile.rewrite import inject
from ..dockerfile.stages import UsedStage
from ..document.options import Options
from ..document.target import Image
from ..engine import find as engines
from ..engine.find import Engine
from ..errors import DockerfileError, Place, RegistryError
from ..oci.platform import Platform
from ..sources.tree import Known
from .abilities import refuse_without_agent
from .build_input import BuildInput, located, or_unplannable
from .drafts import Draft, drafts_of
from .input_hash import Inputs
from .lookup import Lookup, Outside, digest_for, fitting
from .planned import Head, Planned, PlannedBase, PlannedImage, Recipe, Unplannable
from .unchanged import as_built, built_otherwise, compare


@dataclass(frozen=True)
class Plan:
    """The plan of a whole request. ``known`` is what another plan for the same source need not read again."""

    source: BuildInput
    known: Known
    engine: Engine
    images: tuple[PlannedImage, ...]

    def holds_for(self, source: BuildInput) -> bool:
        """Whether ``source`` has the Dockerfile, context and time that were planned. Raises ``OSError``."""
        known = self.known
        return (source.read_dockerfile(), source.read_context(), source.committed_at) == (
            known.dockerfile,
            known.context_digest,
            known.committed_at,
        )

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
    outside: Outside,
) -> Plan:
    """Plan ``images`` of ``source``, asking who is ``outside``.

    What is wrong with one image is in its plan. Raises ``DockerfileError`` and ``EngineError`` for what
    concerns all of them.
    """
    text = source.read_dockerfile()
    with located(source):
        dockerfile = parse(text)
        refuse_hazards(text, engine.version)
    lookup = Lookup(outside)
    drafts = drafts_of(dockerfile, images, engine, source, lookup)
    made = [each for each in drafts if isinstance(each, Draft)]
    lookup.ask_servers((remote for each in made for _, remote in each.remotes), source.url)
    tree = source.read_context()

    def plan(draft: Draft) -> Planned:
        bases, pinned = _pinned(draft.bases, lookup)
        _refuse_unknown_arguments(dockerfile, draft)
        frontend = _frontend_digest(draft, lookup)
        others = [lookup.manifest(other.reference, other.flag.line) for other in draft.others]
        inputs = Inputs(
            image=draft.image,
            options=options,
            context=tree,
            dockerfile=text,
            target=draft.resolutions[0].target_name,
            bases=tuple((base.stage, base.platform, lookup.digest(base)) for base in draft.bases),
            other_images=tuple(
                (other.platform, digest_for(other.platform, manifest))
                for other, manifest in zip(draft.others, others)
            ),
            platforms=draft.platforms,
            builder=engine.builder,
            fetched=tuple(
                (platform, state) for platform, remote in draft.remotes if (state := lookup.state(remote))
            ),
            frontend=frontend,
            source_date_epoch=_epoch_read(dockerfile, draft, source),
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
            _stale_labels(dockerfile, draft, lookup),
        )
        judged = compare(head, built_otherwise, options, outside.registry)
        untold = [remote for _, remote in draft.remotes if not lookup.state(remote)]
        if judged.state == "unchanged" and untold:
            reason = f"what ADD on line {untold[0].line} fetches may have changed"
            judged = judged.judged("pending", reason)
        if judged.state == "pending":
            refuse_without_agent(draft.image)
        if judged.state == "pending" and is_fragile(engine.version):
            _refuse_hazardous_bases(draft, engine.version)
        return Planned(as_built(judged), recipe)

    def plan_one(draft: Union[Draft, Unplannable]) -> PlannedImage:
        if isinstance(draft, Unplannable):
            return draft
        return or_unplannable(source, draft.image, partial(plan, draft))

    planned = tuple(outside.pool.map(plan_one, drafts))
    known = Known(text, source.dockerfile_name, tree, source.committed_at)
    return Plan(source, known, engine, _runnable(source, engine, planned))


def _epoch_read(dockerfile: Dockerfile, draft: Draft, source: BuildInput) -> Optional[int]:
    """The source's time where steps may see it: files can be equal in two commits, and times are not."""
    name = build_args.SOURCE_DATE_EPOCH
    seen = name not in draft.image.build_args and build_args.may_read(dockerfile, name, draft.all_triggers)
    return source.committed_at if seen else None


def _stale_labels(dockerfile: Dockerfile, draft: Draft, lookup: Lookup) -> tuple[str, ...]:
    """The labels of what the image stands on that do not hold for it."""
    below = {(resolution.platform, resolution.foundation().stage.index) for resolution in draft.resolutions}
    configs = [lookup.config(base) for base in draft.bases if (base.platform, base.stage) in below]
    inherited = {name for config in configs for name, value in config.labels.items() if value}
    return stale(inherited, dockerfile, draft.resolutions, draft.all_triggers)


def _refuse_unknown_arguments(dockerfile: Dockerfile, draft: Draft) -> None:
    """Raise ``DockerfileError`` where neither the Dockerfile nor a base's ONBUILD knows a build argument."""
    unknown = build_args.undeclared(dockerfile, draft.image.build_args)
    declared = build_args.declared_by(draft.all_triggers if unknown else ())
    build_args.refuse([name for name in unknown if name not in declared], dockerfile)


def _refuse_hazardous_bases(draft: Draft, engine_version: str) -> None:
    """Raise ``DockerfileError`` where the ONBUILD of a base would end the engine."""
    for base, texts in draft.triggers.items():
        for text in texts:
            try:
                refuse_hazards(text, engine_version)
            except DockerfileError as error:
                if error.code != "dockerfile_hazard":
                    continue  # What cannot be read is BuildKit's to refuse.
                error.message = f"{base.reference.familiar} has in its ONBUILD: {error.message}"
                error.line = base.line
                raise


def _pinned(chosen: Sequence[Base], lookup: Lookup) -> tuple[tuple[PlannedBase, ...], list[Base]]:
    """The bases with the digests that they have now, and the same bases pinned to them."""
    planned = tuple(_planned_base(lookup, base) for base in chosen)
    pinned = [replace(p.base, reference=p.base.reference.with_digest(p.digest)) for p in planned]
    return planned, pinned


def _planned_base(lookup: Lookup, base: Base) -> PlannedBase:
    manifest = lookup.manifest(base.reference, base.line)
    if fitting(manifest, base.stage_platform) is None:
        raise DockerfileError(
            "base_lacks_platform",
            f"The base image {base.reference.familiar} has no {base.stage_platform}; it has "
            + ", ".join(sorted(str(platform) for platform in manifest.platforms))
            + ".",
            hint="Choose another base, or leave the platform out.",
            place=Place(platform=str(base.platform), line=base.line),
        )
    return PlannedBase(base, manifest.digest)


def _frontend_digest(draft: Draft, lookup: Lookup) -> str:
    """The digest of the image that reads the Dockerfile, empty for BuildKit's own."""
    if draft.frontend is None:
        return ""
    try:
        return lookup.manifest(draft.frontend.reference, draft.frontend.line).digest
    except RegistryError as error:
        error.hint = f"{FRONTEND_HINT} {error.hint}"
        raise


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

    return tuple(or_unplannable(source, image.head.image, partial(checked, image)) for image in images)


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
