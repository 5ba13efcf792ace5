# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What would be built and why: bases resolved to digests, input hashes, what the registry already holds.

Making a plan changes nothing. It is what check mode shows and what ``carry_out`` carries out. Bake cannot say
beforehand what it would build, and why; so the plan is made here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Callable, Optional, TypeVar, Union

from ..dockerfile import build_args
from ..dockerfile.contexts import with_contexts
from ..dockerfile.file import read_dockerfile
from ..dockerfile.frontend import FRONTEND_HINT, Frontend, frontend_of
from ..dockerfile.hazards import is_fragile, refuse_hazards
from ..dockerfile.instructions import Dockerfile, parse
from ..dockerfile.labels import stale
from ..dockerfile.overrides import Base, bases
from ..dockerfile.remote_adds import Remote, may_fetch, remote_adds
from ..dockerfile.rewrite import inject
from ..dockerfile.stages import Resolution, UsedImage, UsedStage, refuse_unknown, resolve_all
from ..dockerfile.triggers import read_triggers
from ..document.options import Options
from ..document.target import Image
from ..engine import find as engines
from ..engine.find import Engine
from ..errors import BuilderError, Cancelled, DockerfileError, Place, RegistryError
from ..oci.platform import Platform
from ..oci.reference import Reference
from ..sources.context_digest import context_digest
from ..sources.tree import Known
from .abilities import refuse_missing, refuse_without_agent
from .input_hash import Inputs
from .lookup import Lookup, Outside, digest_for, fitting
from .planned import Head, Planned, PlannedBase, PlannedImage, Recipe, Unplannable
from .unchanged import as_built, built_otherwise, compare

_T = TypeVar("_T")

# Of ONBUILD that leads to a stage whose base has one, and so on.
_MOST_ROUNDS = 20
# In characters, of all stages: a base of a hostile registry can have any number.
_MOST_TRIGGERED = 1 << 20


@dataclass(frozen=True)
class BuildInput:
    """A source ready to build: absolute paths of the context and the Dockerfile, and where they come from.

    ``dockerfile_name`` is what the user calls the Dockerfile. ``revision`` and ``url``
    may be empty; ``committed_at`` is in Unix seconds, 0 for no time. What is ``known`` of it is not read
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
        from ..sources.dockerignore import read_ignore

        return context_digest(self.context, read_ignore(self.dockerignore))


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
    with _located(source):
        dockerfile = parse(text)
        refuse_hazards(text, engine.version)
    lookup = Lookup(outside)
    drafts = _drafts(dockerfile, images, engine, source, lookup)
    made = [each for each in drafts if isinstance(each, _Draft)]
    lookup.ask_servers((remote for each in made for _, remote in each.remotes), source.url)
    tree = source.read_context()

    def plan(draft: _Draft) -> Planned:
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

    def plan_one(draft: Union[_Draft, Unplannable]) -> PlannedImage:
        if isinstance(draft, Unplannable):
            return draft
        return _or_unplannable(source, draft.image, partial(plan, draft))

    planned = tuple(outside.pool.map(plan_one, drafts))
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
    """An image of which registries were asked nothing yet but ``triggers``, the ONBUILD of its ``bases``.

    ``remotes`` are what ADD fetches, for each platform of the image.
    """

    image: Image
    resolutions: tuple[Resolution, ...]
    bases: tuple[Base, ...]
    frontend: Optional[Frontend]
    triggers: Mapping[Base, tuple[str, ...]]
    remotes: tuple[tuple[Platform, Remote], ...] = ()

    @property
    def platforms(self) -> tuple[Platform, ...]:
        return tuple(resolution.platform for resolution in self.resolutions)

    @property
    def others(self) -> list[UsedImage]:
        """The images that COPY --from and RUN --mount read."""
        return [image for resolution in self.resolutions for image in resolution.images]

    @property
    def all_triggers(self) -> list[str]:
        """What the bases have in their ONBUILD, each text once."""
        return list(dict.fromkeys(text for texts in self.triggers.values() for text in texts))

    @property
    def references(self) -> list[Reference]:
        found = [base.reference for base in self.bases] + [other.reference for other in self.others]
        return [*found, self.frontend.reference] if self.frontend else found


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


def _drafts(
    dockerfile: Dockerfile, images: Sequence[Image], engine: Engine, source: BuildInput, lookup: Lookup
) -> list[Union[_Draft, Unplannable]]:
    """The drafts of ``images``, of which registries were asked all that they need.

    What the ONBUILD of bases reads can be other stages, with bases of their own.
    """
    draft = partial(_draft, dockerfile, engine=engine, source=source)

    def again(before: _Draft, left: int) -> _Draft:
        told = {base: lookup.config(base).triggers for base in before.bases}
        triggers = {base: texts for base, texts in told.items() if texts}
        if triggers == before.triggers:
            return before
        if not left or sum(map(len, chain.from_iterable(triggers.values()))) > _MOST_TRIGGERED:
            raise DockerfileError(
                "onbuild_too_deep",
                f"The ONBUILD instructions of bases lead to other bases more than {_MOST_ROUNDS} times, or "
                f"are longer than {_MOST_TRIGGERED} characters.",
                hint="Let a stage read what it needs itself.",
            )
        return draft(before.image, triggers)

    drafts = [_or_unplannable(source, image, partial(draft, image, {})) for image in images]
    for left in reversed(range(_MOST_ROUNDS)):
        made = [each for each in drafts if isinstance(each, _Draft)]
        lookup.ask(reference for each in made for reference in each.references)
        lookup.ask_telling_configs(base for each in made for base in each.bases)
        before = drafts
        drafts = [
            _or_unplannable(source, each.image, partial(again, each, left))
            if isinstance(each, _Draft)
            else each
            for each in before
        ]
        if all(after is each for after, each in zip(drafts, before)):
            break
    made = [each for each in drafts if isinstance(each, _Draft)]
    fetching = [draft for draft in made if any(may_fetch(each) for each in draft.resolutions)]
    lookup.ask_configs(base for each in fetching for base in each.bases)
    return [
        _or_unplannable(source, each.image, partial(_with_remotes, dockerfile, each, lookup))
        if isinstance(each, _Draft)
        else each
        for each in drafts
    ]


def _with_remotes(dockerfile: Dockerfile, draft: _Draft, lookup: Lookup) -> _Draft:
    """The draft with what ADD fetches. Raises ``RegistryError``."""
    found: list[tuple[Platform, Remote]] = []
    for resolution in draft.resolutions:
        platform = resolution.platform
        variables = {
            base.stage: lookup.config(base).environment for base in draft.bases if base.platform == platform
        }
        remotes = remote_adds(dockerfile, resolution, variables, draft.image.build_args)
        found += ((platform, remote) for remote in remotes)
    return replace(draft, remotes=tuple(found))


def _draft(
    dockerfile: Dockerfile,
    image: Image,
    triggers: Mapping[Base, tuple[str, ...]],
    *,
    engine: Engine,
    source: BuildInput,
) -> _Draft:
    refuse_missing(image, engine)
    refuse_unknown(dockerfile, image.no_cache_filter)
    dockerfile = with_contexts(dockerfile, image.contexts)
    resolutions = resolve_all(
        dockerfile,
        image.platforms or (engine.native,),
        build_args={**build_args.of_time(source.committed_at), **image.build_args},
        build_platform=engine.native,
        target=image.target,
        triggers={
            (base.stage, base.platform): read_triggers(texts, base.line) for base, texts in triggers.items()
        },
    )
    chosen = bases(dockerfile, resolutions, image.base)
    return _Draft(image, resolutions, chosen, frontend_of(dockerfile, image.build_args), triggers)


def _epoch_read(dockerfile: Dockerfile, draft: _Draft, source: BuildInput) -> Optional[int]:
    """The source's time where steps may see it: files can be equal in two commits, and times are not."""
    name = build_args.SOURCE_DATE_EPOCH
    seen = name not in draft.image.build_args and build_args.may_read(dockerfile, name, draft.all_triggers)
    return source.committed_at if seen else None


def _stale_labels(dockerfile: Dockerfile, draft: _Draft, lookup: Lookup) -> tuple[str, ...]:
    """The labels of what the image stands on that do not hold for it."""
    below = {(resolution.platform, resolution.foundation().stage.index) for resolution in draft.resolutions}
    configs = [lookup.config(base) for base in draft.bases if (base.platform, base.stage) in below]
    inherited = {name for config in configs for name, value in config.labels.items() if value}
    return stale(inherited, dockerfile, draft.resolutions, draft.all_triggers)


def _refuse_unknown_arguments(dockerfile: Dockerfile, draft: _Draft) -> None:
    """Raise ``DockerfileError`` where neither the Dockerfile nor a base's ONBUILD knows a build argument."""
    unknown = build_args.undeclared(dockerfile, draft.image.build_args)
    declared = build_args.declared_by(draft.all_triggers if unknown else ())
    build_args.refuse([name for name in unknown if name not in declared], dockerfile)


def _refuse_hazardous_bases(draft: _Draft, engine_version: str) -> None:
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


def _frontend_digest(draft: _Draft, lookup: Lookup) -> str:
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
