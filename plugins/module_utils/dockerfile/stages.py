# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What one build of a Dockerfile uses: its stages, their platforms, and the images they start from.

It stays ours because BuildKit finds bases only while it builds; what newer releases tell before
(``--call``) is not expanded.

Rules: BuildKit's ``frontend/dockerfile/dockerfile2llb`` package. Where releases differ, the newest
one is followed: an ARG without a default leaves a variable as it is, ``TARGETSTAGE`` is set,
and an ARG's default that does not expand is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional

from ..errors import DockerfileError, Place
from ..oci.platform import Platform, is_system
from ..oci.reference import Reference
from .instructions import SCRATCH, Dockerfile, FromFlag, Stage
from .shell import Budget, ExpansionError, expand, shown
from .triggers import NO_TRIGGERS, Triggers

_INDEX = re.compile(r"[+-]?[0-9]+\Z")
_SYSTEM = re.compile(r"([A-Za-z0-9_-]+)(\([^/]*\))?\Z")
#: The build argument that names another frontend than the Dockerfile's own.
SYNTAX_ARGUMENT = "BUILDKIT_SYNTAX"


@dataclass(frozen=True)
class UsedStage:
    """A stage in a build for one platform.

    ``base`` is the base's word after expansion. Exactly one of four holds: ``parent`` is
    the index of the earlier stage it starts from; ``image`` is the image it starts from; ``fault`` says
    why its base can be neither, unless another one takes its place;
    or all are ``None``, and it starts from ``scratch``. ``platform`` is what the
    base is pulled for and its RUN instructions run on; ``runs`` whether there are any. ``triggers`` are those
    of the image.
    """

    stage: Stage
    platform: Platform
    base: str
    parent: Optional[int]
    image: Optional[Reference]
    runs: bool
    fault: Optional[DockerfileError] = None
    triggers: Triggers = NO_TRIGGERS

    def triggered(self, triggers: Triggers) -> UsedStage:
        """The same, with what the image's ONBUILD does in it."""
        return replace(self, triggers=triggers, runs=self.runs or triggers.runs)

    @property
    def replaceable(self) -> bool:
        """Whether the base is an image, or what stands in its place."""
        return self.image is not None or self.fault is not None


@dataclass(frozen=True)
class UsedImage:
    """An image that COPY --from or RUN --mount reads, and the flag that names it."""

    reference: Reference
    platform: Platform
    flag: FromFlag


@dataclass(frozen=True)
class Resolution:
    """All that a build for ``platform`` uses.

    ``stages`` are the reachable ones in the file's order, ``target`` is one of them.
    ``target_name`` is the name to give to BuildKit as the target, ``None`` for the last stage.
    ``variables`` are those that FROM may use. ``faulty`` are stages that are not needed, but whose bases
    BuildKit refuses all the same.
    """

    platform: Platform
    target: UsedStage
    target_name: Optional[str]
    stages: tuple[UsedStage, ...]
    images: tuple[UsedImage, ...]
    variables: Mapping[str, str]
    faulty: tuple[UsedStage, ...] = ()

    def ancestry(self) -> tuple[UsedStage, ...]:
        """The stages that the target goes back to, itself first."""
        by_index = {used.stage.index: used for used in self.stages}
        found = [self.target]
        while found[-1].parent is not None:
            found.append(by_index[found[-1].parent])
        return tuple(found)

    def foundation(self) -> UsedStage:
        """The stage, of those that the target goes back to, which does not start from another."""
        return self.ancestry()[-1]


def resolve_all(
    dockerfile: Dockerfile,
    platforms: Iterable[Platform],
    *,
    build_args: Mapping[str, str],
    build_platform: Platform,
    target: Optional[str] = None,
    triggers: Optional[Mapping[tuple[int, Platform], Triggers]] = None,
) -> tuple[Resolution, ...]:
    """What the builds of one image for each of ``platforms`` use (see ``resolve``).

    ``triggers`` are known for each stage and platform.
    """
    return tuple(
        resolve(
            dockerfile,
            build_args=build_args,
            platform=platform,
            build_platform=build_platform,
            target=target,
            triggers={stage: each for (stage, of), each in (triggers or {}).items() if of == platform},
        )
        for platform in platforms
    )


def resolve(
    dockerfile: Dockerfile,
    *,
    build_args: Mapping[str, str],
    platform: Platform,
    build_platform: Platform,
    target: Optional[str] = None,
    triggers: Optional[Mapping[int, Triggers]] = None,
) -> Resolution:
    """What a build of stage ``target`` (name or index, the last by default) for ``platform`` uses.

    ``build_platform`` is the builder's own platform; ``triggers`` are what is known of those of the images
    that stages, by their indices, start from. Raises ``DockerfileError``.
    """
    if dockerfile.fault and SYNTAX_ARGUMENT not in build_args:
        raise dockerfile.fault
    chosen = _find_target(dockerfile, target)
    # All ways to ask for the last stage are one.
    target_name = None if chosen is dockerfile.stages[-1] else chosen.name
    budget = Budget()
    variables = _variables(
        dockerfile, build_args, _predefined(dockerfile, platform, build_platform, target_name), budget
    )
    stages = [
        used.triggered(triggers[used.stage.index]) if triggers and used.stage.index in triggers else used
        for used in _all_stages(dockerfile, variables, platform, build_platform, budget)
    ]
    # Like _all_stages, this judges every stage, needed or not.
    reads = _Reads(dockerfile, stages, platform)
    needs = [
        (*read, *([] if used.parent is None else [used.parent])) for used, read in zip(stages, reads.stages)
    ]
    _refuse_circle(dockerfile, needs)
    reachable: set[int] = set()
    waiting = [chosen.index]
    while waiting:
        index = waiting.pop()
        if index not in reachable:
            reachable.add(index)
            waiting += needs[index]
    if not dockerfile.syntax and SYNTAX_ARGUMENT not in build_args:
        _refuse_faults(stages, sorted(reachable))
    images = [image for index in reachable for image in reads.images[index]]
    return Resolution(
        platform,
        stages[chosen.index],
        target_name,
        tuple(stages[index] for index in sorted(reachable)),
        tuple(sorted(images, key=lambda image: image.flag.line)),
        variables,
        tuple(used for used in stages if used.fault and used.stage.index not in reachable),
    )


def _refuse_faults(stages: Sequence[UsedStage], needed: Iterable[int]) -> None:
    """Raise why BuildKit refuses one of the ``needed`` stages, or what its parent's ONBUILD gives to it."""
    for index in needed:
        parent = stages[index].parent
        fault = (stages[parent].stage.onbuild_fault if parent is not None else None) or stages[
            index
        ].stage.used_fault
        if fault:
            raise fault


def _refuse_circle(dockerfile: Dockerfile, needs: Sequence[Sequence[int]]) -> None:
    """Raise ``DockerfileError`` where stages need each other; ``needs`` are each one's.

    BuildKit looks for circles of COPY and RUN only. One that goes through a FROM ends the daemon of
    Docker Engine 26.1.5 by a stack overflow (``isReachable`` of dockerfile2llb).
    """
    missing = [len(needed) for needed in needs]
    needed_by: list[list[int]] = [[] for _ in needs]
    for index, needed in enumerate(needs):
        for other in needed:
            needed_by[other].append(index)
    waiting = [index for index, count in enumerate(missing) if not count]
    free: set[int] = set()
    while waiting:
        index = waiting.pop()
        free.add(index)
        for other in needed_by[index]:
            missing[other] -= 1
            if not missing[other]:
                waiting.append(other)
    stuck = [stage for stage in dockerfile.stages if stage.index not in free]
    if stuck:
        raise DockerfileError(
            "dockerfile_circle",
            f"{_named(stuck[0])[:1].upper()}{_named(stuck[0])[1:]} needs what is built from it.",
            hint="Let it copy from an earlier stage.",
            place=Place(line=stuck[0].line),
        )


def _find_target(dockerfile: Dockerfile, target: Optional[str]) -> Stage:
    """The target stage. BuildKit takes names only, so an index must lead to a stage it can name."""
    stages = dockerfile.stages
    if not target:
        return stages[-1]
    by_name = {stage.name: stage for stage in stages if stage.name}
    if target.lower() in by_name:
        return by_name[target.lower()]
    if target.isdecimal() and int(target[:9]) < len(stages) and len(target) <= 9:
        stage = stages[int(target)]
        if stage is stages[-1] or by_name.get(stage.name) is stage:
            return stage
        raise DockerfileError(
            "target_without_name",
            f"Stage {stage.index} has no name of its own, so BuildKit cannot build it as a target.",
            hint="Give it a name with AS, or leave the target out for the last stage.",
            place=Place(line=stage.line),
        )
    raise _unknown(dockerfile, target)


def refuse_unknown(dockerfile: Dockerfile, names: Iterable[str]) -> None:
    """Raise ``DockerfileError`` where no stage has one of ``names``, which are lower-case."""
    known = {stage.name for stage in dockerfile.stages}
    for name in names:
        if name not in known:
            raise _unknown(dockerfile, name)


def _unknown(dockerfile: Dockerfile, name: str) -> DockerfileError:
    return DockerfileError(
        "unknown_target",
        f"The Dockerfile has no stage '{shown(name)}'.",
        hint=f"It has: {'; '.join(str(stage) for stage in dockerfile.stages)}.",
    )


def _predefined(
    dockerfile: Dockerfile, platform: Platform, build_platform: Platform, target_name: Optional[str]
) -> dict[str, str]:
    """The variables that are there before the first global ARG."""
    return {
        "TARGETPLATFORM": str(platform),
        "TARGETOS": platform.os,
        "TARGETARCH": platform.architecture,
        "TARGETVARIANT": platform.variant,
        "BUILDPLATFORM": str(build_platform),
        "BUILDOS": build_platform.os,
        "BUILDARCH": build_platform.architecture,
        "BUILDVARIANT": build_platform.variant,
        "TARGETSTAGE": target_name or dockerfile.stages[-1].name or "default",
    }


def _variables(
    dockerfile: Dockerfile, build_args: Mapping[str, str], predefined: Mapping[str, str], budget: Budget
) -> dict[str, str]:
    """The variables of the global scope: the predefined ones, then each global ARG in turn."""
    variables = {name: build_args.get(name, value) for name, value in predefined.items()}
    for argument in dockerfile.arguments:
        if argument.name in build_args:
            variables[argument.name] = build_args[argument.name]
        elif argument.default is not None:
            variables[argument.name] = _Expander(dockerfile, variables, budget).expand(
                argument.default, argument.line
            )
    return variables


@dataclass(frozen=True)
class _Expander:
    dockerfile: Dockerfile
    variables: Mapping[str, str]
    budget: Budget

    def expand(self, word: str, line: int) -> str:
        try:
            return expand(word, self.variables, self.dockerfile.escape, self.budget)
        except ExpansionError as error:
            raise DockerfileError(
                "dockerfile_expansion",
                f"'{shown(word)}' cannot be expanded: {error}.",
                hint="Correct the expression, or give its variables as build_args.",
                place=Place(line=line),
            ) from None


def _all_stages(
    dockerfile: Dockerfile,
    variables: Mapping[str, str],
    platform: Platform,
    build_platform: Platform,
    budget: Budget,
) -> list[UsedStage]:
    """Every stage with what it starts from; BuildKit refuses faults of unused ones too."""
    result: list[UsedStage] = []
    by_name: dict[str, int] = {}
    expander = _Expander(dockerfile, variables, budget)
    for stage in dockerfile.stages:
        fault: Optional[DockerfileError] = None
        base = ""
        image: Optional[Reference] = None
        try:
            base = expander.expand(stage.base, stage.line)
            if base not in by_name and base != SCRATCH:
                image = _base_image(stage, base)
        except DockerfileError as error:
            fault = error
        own = _stage_platform(expander, stage, build_platform)
        parent = None if fault else by_name.get(base)
        runs = stage.runs
        if parent is not None:
            # Not its own: what a stage adds to another must run where that one runs.
            own = result[parent].platform
            runs = runs or result[parent].stage.onbuild_runs
        elif image is None and fault is None:
            own = platform
        result.append(UsedStage(stage, own or platform, base, parent, image, runs, fault))
        if stage.name:
            by_name[stage.name] = stage.index
    return result


def _base_image(stage: Stage, base: str) -> Reference:
    if not base:
        raise DockerfileError(
            "dockerfile_empty_base",
            f"The base {shown(stage.base)} of {_named(stage)} is empty.",
            hint="Give its variables as build_args, another image as base, or a default in an ARG before "
            "the first FROM.",
            place=Place(line=stage.line),
        )
    return _reference(base, f"The base of {_named(stage)}", stage.line)


def _named(stage: Stage) -> str:
    return f"stage {stage.name}" if stage.name else f"stage {stage.index}"


def _stage_platform(expander: _Expander, stage: Stage, build_platform: Platform) -> Optional[Platform]:
    if not stage.platform:
        return None
    text = expander.expand(stage.platform, stage.line)
    try:
        if text != text.strip():
            raise ValueError(f"{text!r} has blanks around it")
        # A system alone stands for the builder's architecture. Source: containerd's platforms package.
        system = _SYSTEM.match(text)
        if system and is_system(system[1]):
            text = f"{text}/{build_platform.architecture}"
            if build_platform.variant:
                text += f"/{build_platform.variant}"
        return Platform.parse(text)
    except ValueError as error:
        raise DockerfileError(
            "dockerfile_platform",
            f"The platform {shown(stage.platform)} of {_named(stage)} cannot be used: {shown(str(error))}.",
            hint="Correct --platform, or leave it out to use the platform that is built.",
            place=Place(line=stage.line),
        ) from None


def _reference(text: str, what: str, line: int) -> Reference:
    try:
        return Reference.parse(text)
    except ValueError as error:
        raise DockerfileError(
            "dockerfile_reference",
            f"{what} cannot be used: {shown(str(error))}.",
            hint="Correct it, or give the variables that it uses as build_args.",
            place=Place(line=line),
        ) from None


class _Reads:
    """What the flags in force in each stage name: ``stages`` by their indices, and ``images``."""

    def __init__(self, dockerfile: Dockerfile, stages: Sequence[UsedStage], platform: Platform) -> None:
        self._platform = platform
        self._by_name = {stage.name: stage.index for stage in dockerfile.stages if stage.name}
        # BuildKit counts what is no stage as one more, in the order in which it reads the flags.
        self._counted: list[Optional[UsedImage]] = []
        self._stages = len(stages)
        self.stages: list[list[int]] = [[] for _ in stages]
        self.images: list[list[UsedImage]] = [[] for _ in stages]
        for used in stages:
            for flag in used.stage.from_flags:
                if not flag.onbuild:
                    self._read(used.stage.index, flag)
        for used in stages:
            parent = used.parent
            for flag in stages[parent].stage.from_flags if parent is not None else ():
                if flag.onbuild:
                    self._read(used.stage.index, flag)
            for flag in used.triggers.from_flags:
                self._read(used.stage.index, flag)

    def _read(self, index: int, flag: FromFlag) -> None:
        number = int(flag.name[:10]) if flag.instruction == "COPY" and _INDEX.match(flag.name) else None
        if number is not None:
            if 0 <= number < self._stages:
                self.stages[index].append(number)
            elif number >= self._stages and number - self._stages < len(self._counted):
                counted = self._counted[number - self._stages]
                self.images[index] += [] if counted is None else [counted]
            # A higher index is left for BuildKit to refuse.
        elif flag.name.lower() in self._by_name:
            self.stages[index].append(self._by_name[flag.name.lower()])
        else:
            image: Optional[UsedImage] = None
            if flag.name != SCRATCH:
                image = UsedImage(_flag_reference(flag), self._platform, flag)
                self.images[index].append(image)
            self._counted.append(image)


def _flag_reference(flag: FromFlag) -> Reference:
    if "$" in flag.name:
        raise DockerfileError(
            "dockerfile_reference",
            f"BuildKit does not expand {shown(flag.name)} in the from of {flag.instruction}.",
            hint="Name a stage there, and let that stage's FROM use the variable.",
            place=Place(line=flag.line),
        )
    return _reference(flag.name, f"The from of {flag.instruction}", flag.line)
