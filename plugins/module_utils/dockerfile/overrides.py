# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Base images: which ones a build stands on, how overrides replace them, and how BuildKit is told.

An override is a reference, which means the same as ``{first: reference}``, or a mapping. Its keys:

* ``first``: the first base image that is not ``scratch``, in every stage that starts from it;
* ``final``: the base image that the target stage finally stands on, in every stage that starts
  from it;
* ``all``: every base image;
* a stage's name or index: the base image of that stage;
* a reference, as the Dockerfile has it or as it expands: that base image, in every stage that
  starts from it. References are compared in their full form, so ``alpine`` is
  ``docker.io/library/alpine:latest``.

A base that is replaced need not be usable, so that ``ARG BASE`` and ``FROM $BASE`` leave it to the caller.

Only stages that the target needs count; ``scratch`` is no image and cannot be replaced. A key is taken
for the first of these that it can be, so a stage named ``first`` goes by its index, and a
reference that is also a stage's name by its full form. A stage's name or index wins over a
reference, that over ``first`` and ``final``, and these over ``all``; two keys of one
rank must agree on every stage they share.

The values are a reference, or a mapping from platforms that the image is built for to references.
A key says nothing about platforms that its mapping leaves out: there a key of a lower rank
counts, or the Dockerfile's own base stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, Union

from ..document.target import Override
from ..errors import DockerfileError, Place
from ..oci.platform import Platform
from ..oci.reference import Reference
from .instructions import SCRATCH, Dockerfile, Stage
from .shell import shown
from .stages import Resolution, UsedStage

_STAGE, _REFERENCE, _PLACE, _ALL = range(4)


@dataclass(frozen=True)
class Base:
    """The image that one stage starts from in the build for one platform.

    ``stage``, ``stage_name`` and ``line`` say which FROM it is; ``platform`` is what is built,
    ``stage_platform`` what the base is pulled for. ``original`` is the Dockerfile's word
    after expansion, as written where it cannot be used; ``reference`` is in effect, ``overridden`` tells
    whether by an override.
    """

    stage: int
    stage_name: str
    line: int
    platform: Platform
    stage_platform: Platform
    original: str
    reference: Reference
    overridden: bool

    def to_dict(self) -> dict[str, Any]:
        """The base for results, with ``reference`` in its short form."""
        return {
            "stage": self.stage,
            "stage_name": self.stage_name,
            "line": self.line,
            "platform": str(self.platform),
            "original": self.original,
            "reference": self.reference.familiar,
            "overridden": self.overridden,
        }


@dataclass(frozen=True)
class _Rule:
    """One key of an override, read: its rank, and what it puts in place for which platforms.

    ``parsed`` is the key as a reference, where it is one.
    """

    key: str
    rank: int
    default: Optional[Reference]
    by_platform: Mapping[Platform, Reference]
    parsed: Optional[Reference] = None

    def value(self, platform: Platform) -> Optional[Reference]:
        return self.by_platform.get(platform, self.default)


def bases(
    dockerfile: Dockerfile,
    resolutions: Sequence[Resolution],
    override: Optional[Override],
) -> tuple[Base, ...]:
    """The base images of one image, by platform and stage, with ``override`` laid onto them.

    ``resolutions`` holds what the build uses for each of the image's platforms. Raises
    ``DockerfileError``: ``override_matches_nothing``, ``override_of_scratch``,
    ``override_of_stage``, ``override_ambiguous`` or ``override_invalid``.
    """
    rules = _rules(dockerfile, override, [resolution.platform for resolution in resolutions])
    matches = [_Matches(resolution) for resolution in resolutions]
    for rule in rules:
        if not any(matching.any(rule) for matching in matches):
            raise _unmatched(rule, dockerfile, resolutions)
    found = tuple(
        _base(matching, used, rules)
        for matching in matches
        for used in matching.resolution.stages
        if used.replaceable
    )
    overridden = {dockerfile.stages[base.stage].base for base in found if base.overridden}
    for resolution in resolutions:
        for used in resolution.faulty:
            if used.fault and used.stage.base not in overridden:
                raise used.fault
    return found


class _Matches:
    """Which stages of ``resolution`` a rule is for."""

    def __init__(self, resolution: Resolution) -> None:
        self.resolution = resolution
        first = next((used for used in resolution.stages if used.replaceable), None)
        self._places = {
            "first": None if first is None else _identity(first),
            "final": _identity(resolution.foundation()),
        }

    def any(self, rule: _Rule) -> bool:
        return any(self.holds(rule, used) for used in self.resolution.stages)

    def holds(self, rule: _Rule, used: UsedStage) -> bool:
        if not used.replaceable:
            return False
        if rule.rank == _ALL:
            return True
        if rule.rank == _STAGE:
            return _names_stage(rule.key, used.stage)
        if rule.rank == _REFERENCE:
            return rule.key == used.stage.base or (used.image is not None and rule.parsed == used.image)
        return self._places[rule.key] == _identity(used)


def _identity(used: UsedStage) -> Union[Reference, str, None]:
    """What makes the bases of two stages one: the image, or where there is none yet, the word as written."""
    return used.stage.base if used.fault else used.image


def _base(matches: _Matches, used: UsedStage, rules: Iterable[_Rule]) -> Base:
    platform = matches.resolution.platform
    matching = [rule for rule in rules if rule.value(platform) and matches.holds(rule, used)]
    rank = min((rule.rank for rule in matching), default=_ALL)
    best = [rule for rule in matching if rule.rank == rank]
    values = {rule.value(platform) for rule in best}
    if len(values) > 1:
        keys = " and ".join(repr(rule.key) for rule in best)
        raise DockerfileError(
            "override_ambiguous",
            f"The keys {keys} of base ask for different bases of {place_of(used.stage)}.",
            hint="Keep one of them, or name the stage by its index.",
            place=Place(platform=str(platform), line=used.stage.line),
        )
    reference = (values.pop() if values else None) or used.image
    if reference is None:
        assert used.fault is not None
        raise used.fault
    return Base(
        stage=used.stage.index,
        stage_name=used.stage.name,
        line=used.stage.line,
        platform=platform,
        stage_platform=used.platform,
        original=used.stage.base if used.fault else used.base,
        reference=reference,
        overridden=bool(best),
    )


def _rules(
    dockerfile: Dockerfile, override: Optional[Override], platforms: Sequence[Platform]
) -> list[_Rule]:
    if override is None:
        return []
    entries = {"first": override} if isinstance(override, str) else override
    return [_rule(dockerfile, key, value, platforms) for key, value in entries.items()]


def _rule(
    dockerfile: Dockerfile, key: str, value: Union[str, Mapping[str, str]], platforms: Sequence[Platform]
) -> _Rule:
    if key == "all":
        rank = _ALL
    elif key in ("first", "final"):
        rank = _PLACE
    elif key.isdecimal() or key.lower() in {stage.name for stage in dockerfile.stages if stage.name}:
        rank = _STAGE
    else:
        rank = _REFERENCE
    if isinstance(value, str):
        return _Rule(key, rank, _new_base(key, value), {}, _parsed(key))
    by_platform: dict[Platform, Reference] = {}
    for text, reference in value.items():
        platform = _built_platform(key, text, platforms)
        new = _new_base(key, reference)
        if by_platform.setdefault(platform, new) != new:
            raise _invalid(f"base[{key!r}] gives two references for {platform}.", "Keep one of them.")
    return _Rule(key, rank, None, by_platform, _parsed(key))


def _built_platform(key: str, text: str, platforms: Sequence[Platform]) -> Platform:
    try:
        platform = Platform.parse(text)
    except ValueError as error:
        raise _invalid(f"base[{key!r}] cannot be used: {error}.", "Correct the platform.") from None
    if platform not in platforms:
        built = ", ".join(str(platform) for platform in platforms)
        hint = f"Add it to platforms, or leave it out; built are {built}."
        raise _invalid(f"base[{key!r}] names {platform}, which the image is not built for.", hint)
    return platform


def _new_base(key: str, text: str) -> Reference:
    try:
        reference = Reference.parse(text)
    except ValueError as error:
        raise _invalid(f"base[{key!r}] cannot be used: {error}.", "Correct the reference.") from None
    if text == SCRATCH:
        raise _invalid(f"base[{key!r}] is scratch, which is no image.", "Give the reference of an image.")
    return reference


def _invalid(message: str, hint: str) -> DockerfileError:
    return DockerfileError("override_invalid", message, hint=hint)


def _names_stage(key: str, stage: Stage) -> bool:
    return (
        key.lower() == stage.name if not key.isdecimal() else key.lstrip("0") == str(stage.index).lstrip("0")
    )


def _parsed(text: str) -> Optional[Reference]:
    try:
        return Reference.parse(text)
    except ValueError:
        return None


def _unmatched(rule: _Rule, dockerfile: Dockerfile, resolutions: Sequence[Resolution]) -> DockerfileError:
    """Why a key matches no base image of any platform."""
    used_stages = {used.stage.index: used for resolution in resolutions for used in resolution.stages}
    named = [used for used in used_stages.values() if _names_stage(rule.key, used.stage)]
    foundations = [resolution.foundation() for resolution in resolutions]
    on_scratch: Optional[UsedStage] = None
    if rule.rank == _STAGE:
        for used in named:
            if used.parent is not None:
                parent = dockerfile.stages[used.parent]
                return DockerfileError(
                    "override_of_stage",
                    f"base[{rule.key!r}] cannot be replaced: {place_of(used.stage)} starts from "
                    f"{place_of(parent)}, not from an image.",
                    hint=f"Name stage {parent.name or parent.index}, or write the image's full reference.",
                    place=Place(line=used.stage.line),
                )
            on_scratch = used
    elif rule.key == "final":
        on_scratch = foundations[0]
    elif rule.key == SCRATCH:
        on_scratch = next((used for used in used_stages.values() if used.base == SCRATCH), None)
    if on_scratch is not None:
        return DockerfileError(
            "override_of_scratch",
            f"base[{rule.key!r}] cannot be replaced: {place_of(on_scratch.stage)} starts from scratch.",
            hint="Choose a stage that starts from an image.",
            place=Place(line=on_scratch.stage.line),
        )
    candidates = "; ".join(
        f"{place_of(used.stage)} starts from {_written_and_expanded(used)}"
        for _, used in sorted(used_stages.items())
        if used.replaceable
    )
    return DockerfileError(
        "override_matches_nothing",
        f"base[{rule.key!r}] matches no base image that the target needs.",
        hint=f"It could match: {candidates}." if candidates else "Every stage it needs starts from scratch.",
    )


def place_of(stage: Stage) -> str:
    """What an error calls ``stage``: its index, its name and its line."""
    name = f" ({stage.name})" if stage.name else ""
    return f"stage {stage.index}{name} on line {stage.line}"


def _written_and_expanded(used: UsedStage) -> str:
    written, expanded = shown(used.stage.base), shown(used.base)
    return written if used.fault or written == expanded else f"{written} ({expanded})"
