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
from dataclasses import dataclass
from typing import Optional

from ..errors import DockerfileError, Place
from ..oci.platform import Platform
from ..oci.reference import Reference
from .instructions import Dockerfile, FromFlag, Stage
from .shell import ExpansionError, expand, shown

SCRATCH = "scratch"

_INDEX = re.compile(r"[+-]?[0-9]+\Z")
# A system alone stands for the builder's architecture. Source: containerd's platforms package.
_SYSTEMS = ("darwin", "freebsd", "linux", "windows")


@dataclass(frozen=True)
class UsedStage:
    """A stage in a build for one platform.

    ``base`` is the base's word after expansion. Exactly one of three holds: ``parent`` is
    the index of the earlier stage it starts from; ``image`` is the image it starts from;
    or both are ``None``, and it starts from ``scratch``. ``platform`` is what the
    base is pulled for and its RUN instructions run on; ``runs`` whether there are any.
    """

    stage: Stage
    platform: Platform
    base: str
    parent: Optional[int]
    image: Optional[Reference]
    runs: bool


@dataclass(frozen=True)
class UsedImage:
    """An image that COPY --from or RUN --mount reads; ``written`` as in the Dockerfile."""

    reference: Reference
    platform: Platform
    written: str
    line: int


@dataclass(frozen=True)
class Resolution:
    """All that a build for ``platform`` uses.

    ``stages`` are the reachable ones in the file's order, ``target`` is one of them.
    ``target_name`` is the name to give to BuildKit as the target, ``None`` for the last stage.
    ``variables`` are those that FROM may use.
    """

    platform: Platform
    target: UsedStage
    target_name: Optional[str]
    stages: tuple[UsedStage, ...]
    images: tuple[UsedImage, ...]
    variables: Mapping[str, str]

    def foundation(self) -> UsedStage:
        """The stage, of those that the target goes back to, which does not start from another."""
        by_index = {used.stage.index: used for used in self.stages}
        used = self.target
        while used.parent is not None:
            used = by_index[used.parent]
        return used


def resolve_all(
    dockerfile: Dockerfile,
    platforms: Iterable[Platform],
    *,
    build_args: Mapping[str, str],
    build_platform: Platform,
    target: Optional[str] = None,
) -> tuple[Resolution, ...]:
    """What the builds of one image for each of ``platforms`` use (see ``resolve``)."""
    return tuple(
        resolve(
            dockerfile, build_args=build_args, platform=platform, build_platform=build_platform, target=target
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
) -> Resolution:
    """What a build of stage ``target`` (name or index, the last by default) for ``platform`` uses.

    ``build_platform`` is the builder's own platform. Raises ``DockerfileError``.
    """
    chosen = _find_target(dockerfile, target)
    target_name = chosen.name or None if target else None
    variables = _variables(dockerfile, build_args, platform, build_platform, target_name)
    stages = _all_stages(dockerfile, variables, platform, build_platform)
    by_name = {stage.name: stage.index for stage in dockerfile.stages if stage.name}
    # Like _all_stages, this judges every stage, needed or not.
    reads = [_reads(stages, index, by_name, platform) for index in range(len(stages))]
    needs = [
        (*read, *([] if used.parent is None else [used.parent])) for used, (read, _) in zip(stages, reads)
    ]
    _refuse_circle(dockerfile, needs)
    reachable: set[int] = set()
    waiting = [chosen.index]
    while waiting:
        index = waiting.pop()
        if index not in reachable:
            reachable.add(index)
            waiting += needs[index]
    images = [image for index in reachable for image in reads[index][1]]
    return Resolution(
        platform,
        stages[chosen.index],
        target_name,
        tuple(stages[index] for index in sorted(reachable)),
        tuple(sorted(images, key=lambda image: image.line)),
        variables,
    )


def _refuse_circle(dockerfile: Dockerfile, needs: Sequence[Sequence[int]]) -> None:
    """Raise ``DockerfileError`` where stages need each other; ``needs`` are each one's.

    BuildKit looks for circles of COPY and RUN only. One that goes through a FROM ends the daemon of
    Docker Engine 26.1.5 by a stack overflow (``isReachable`` of dockerfile2llb).
    """
    free: set[int] = set()
    while True:
        more = {index for index, needed in enumerate(needs) if index not in free and free.issuperset(needed)}
        if not more:
            break
        free |= more
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
    raise DockerfileError(
        "unknown_target",
        f"The Dockerfile has no stage '{shown(target)}'.",
        hint=f"It has: {'; '.join(str(stage) for stage in stages)}.",
    )


def _variables(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str],
    platform: Platform,
    build_platform: Platform,
    target_name: Optional[str],
) -> dict[str, str]:
    """The variables of the global scope: the predefined ones, then each global ARG in turn."""
    variables = {
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
    variables = {name: build_args.get(name, value) for name, value in variables.items()}
    for argument in dockerfile.arguments:
        if argument.name in build_args:
            variables[argument.name] = build_args[argument.name]
        elif argument.default is not None:
            variables[argument.name] = _expand(argument.default, variables, dockerfile, argument.line)
    return variables


def _expand(word: str, variables: Mapping[str, str], dockerfile: Dockerfile, line: int) -> str:
    try:
        return expand(word, variables, dockerfile.escape)
    except ExpansionError as error:
        raise DockerfileError(
            "dockerfile_expansion",
            f"'{shown(word)}' cannot be expanded: {error}.",
            hint="Correct the expression, or give its variables as build_args.",
            place=Place(line=line),
        ) from None


def _all_stages(
    dockerfile: Dockerfile, variables: Mapping[str, str], platform: Platform, build_platform: Platform
) -> list[UsedStage]:
    """Every stage with what it starts from; BuildKit refuses faults of unused ones too."""
    result: list[UsedStage] = []
    by_name: dict[str, int] = {}
    for stage in dockerfile.stages:
        base = _expand(stage.base, variables, dockerfile, stage.line)
        if not base:
            raise DockerfileError(
                "dockerfile_empty_base",
                f"The base {shown(stage.base)} of {_named(stage)} is empty.",
                hint="Give its variables as build_args, or a default in an ARG before the first FROM.",
                place=Place(line=stage.line),
            )
        own = _stage_platform(dockerfile, stage, variables, build_platform)
        parent = by_name.get(base)
        image: Optional[Reference] = None
        runs = stage.runs
        if parent is not None:
            # Not its own: what a stage adds to another must run where that one runs.
            own = result[parent].platform
            runs = runs or result[parent].stage.onbuild_runs
        elif base == SCRATCH:
            own = platform
        else:
            image = _reference(base, f"The base of {_named(stage)}", stage.line)
        result.append(UsedStage(stage, own or platform, base, parent, image, runs))
        if stage.name:
            by_name[stage.name] = stage.index
    return result


def _named(stage: Stage) -> str:
    return f"stage {stage.name}" if stage.name else f"stage {stage.index}"


def _stage_platform(
    dockerfile: Dockerfile, stage: Stage, variables: Mapping[str, str], build_platform: Platform
) -> Optional[Platform]:
    if not stage.platform:
        return None
    text = _expand(stage.platform, variables, dockerfile, stage.line)
    if text.lower() in _SYSTEMS:
        return Platform(text.lower(), build_platform.architecture, build_platform.variant)
    try:
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


def _flags_in_force(stages: list[UsedStage], index: int) -> list[FromFlag]:
    """The stage's own flags, and those that its parent's ONBUILD instructions bring."""
    own = [flag for flag in stages[index].stage.from_flags if not flag.onbuild]
    parent = stages[index].parent
    if parent is None:
        return own
    return [flag for flag in stages[parent].stage.from_flags if flag.onbuild] + own


def _reads(
    stages: list[UsedStage], index: int, by_name: Mapping[str, int], platform: Platform
) -> tuple[list[int], list[UsedImage]]:
    """The stages and the images that the flags in force in one stage name."""
    sources: list[int] = []
    images: list[UsedImage] = []
    for flag in _flags_in_force(stages, index):
        number = int(flag.name[:10]) if flag.instruction == "COPY" and _INDEX.match(flag.name) else None
        if number is not None:
            # An index beyond the stages is left for BuildKit to refuse.
            sources += [number] if 0 <= number < len(stages) else []
        elif flag.name.lower() in by_name:
            sources.append(by_name[flag.name.lower()])
        elif flag.name != SCRATCH:
            images.append(UsedImage(_flag_reference(flag), platform, flag.name, flag.line))
    return sources, images


def _flag_reference(flag: FromFlag) -> Reference:
    if "$" in flag.name:
        raise DockerfileError(
            "dockerfile_reference",
            f"BuildKit does not expand {shown(flag.name)} in the from of {flag.instruction}.",
            hint="Name a stage there, and let that stage's FROM use the variable.",
            place=Place(line=flag.line),
        )
    return _reference(flag.name, f"The from of {flag.instruction}", flag.line)
