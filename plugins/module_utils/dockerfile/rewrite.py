# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Making BuildKit use other base images: a copy of the Dockerfile, and a named context for each.

What COPY --from and RUN --mount read is named by digest in the copy. By a tag, BuildKit takes what the
engine's own store has under it, however old.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ..errors import DockerfileError, Place
from ..oci.reference import Reference
from .instructions import SCRATCH, Dockerfile, FromFlag, Stage
from .overrides import Base, place_of
from .stages import Resolution

_PREFIX = "image-builder-base"


@dataclass(frozen=True)
class Injection:
    """What makes BuildKit use given bases.

    ``text`` is the Dockerfile with these bases' words replaced by names, others pinned; ``contexts``
    maps the named contexts to set, ``name::os/arch[/variant]``, to ``docker-image://`` addresses.
    """

    text: str
    contexts: Mapping[str, str]


def rewrite(
    dockerfile: Dockerfile, names: Mapping[int, str], pins: Optional[Mapping[FromFlag, Reference]] = None
) -> str:
    """The Dockerfile's text with the base of each stage in ``names`` replaced, else byte for byte.

    So is what each flag of it in ``pins`` names. What stands on several lines is replaced on the last of them
    and left out on the others, so that all lines keep their numbers.
    """
    changes = [(dockerfile.stages[index].base_spans, name) for index, name in names.items()]
    changes += [(flag.spans, flag.pinned(to)) for flag, to in (pins or {}).items() if flag.spans]
    pieces: list[str] = []
    behind = 0
    for spans, new in sorted(changes):
        for start, end in spans:
            pieces.append(dockerfile.text[behind:start])
            behind = end
        pieces.append(new)
    pieces.append(dockerfile.text[behind:])
    return "".join(pieces)


def unused_names(resolutions: Sequence[Resolution]) -> dict[int, str]:
    """What stands for bases that no platform needs, and that BuildKit would refuse all the same."""
    needed = {used.stage.index for resolution in resolutions for used in resolution.stages}
    return {
        used.stage.index: SCRATCH
        for resolution in resolutions
        for used in resolution.faulty
        if used.stage.index not in needed
    }


def inject(
    dockerfile: Dockerfile,
    resolutions: Sequence[Resolution],
    chosen: Sequence[Base],
    pins: Optional[Mapping[FromFlag, Reference]] = None,
) -> Injection:
    """The text and named contexts with which BuildKit uses the ``chosen`` bases, and for flags the ``pins``.

    ``chosen`` comes from ``bases`` for the same ``resolutions``, its references perhaps pinned since.
    Each stage gets a name of its own. BuildKit looks a name up for the platform that
    the stage is pulled for; where one such platform needs different bases for different targets, as in
    ``FROM --platform=$BUILDPLATFORM tools:$TARGETARCH``, the name ends in ``$TARGETPLATFORM``.
    A stage that starts from an image on some platforms only stays as written. Raises
    ``DockerfileError`` (code ``base_differs_by_platform``) where neither can give the bases chosen.

    What stays as written, and what only the ONBUILD of a base says, gets a context of its own name, unless a
    stage has that name (code ``stage_hides_image``).
    """
    taken = max((len(match) for match in re.findall(f"{_PREFIX}x*", dockerfile.text)), default=None)
    prefix = _PREFIX if taken is None else _PREFIX.ljust(taken + 1, "x")
    without_image = {
        used.stage.index for resolution in resolutions for used in resolution.stages if not used.replaceable
    }
    names = unused_names(resolutions)
    contexts: dict[str, str] = {}
    by_stage: dict[int, list[Base]] = {}
    for base in chosen:
        by_stage.setdefault(base.stage, []).append(base)
    for index, of_stage in sorted(by_stage.items()):
        if index in without_image:
            if any(base.overridden for base in of_stage):
                raise _inseparable(dockerfile.stages[index], "starts from an image on some platforms only")
            for base in of_stage:
                contexts.update(_by_own_name(dockerfile, base.original, base.reference, base.line))
            continue
        name = names[index] = f"{prefix}-{index}"
        needed = {(base.stage_platform, base.reference) for base in of_stage}
        several = len(needed) > len({platform for platform, _ in needed})
        if several:
            names[index] = f"{name}/${{TARGETPLATFORM}}"
            if any(r.variables["TARGETPLATFORM"] != str(r.platform) for r in resolutions):
                raise _inseparable(dockerfile.stages[index], "needs TARGETPLATFORM, which is redefined")
        for base in of_stage:
            key = f"{name}/{base.platform}" if several else name
            contexts[f"{key}::{base.stage_platform}"] = f"docker-image://{base.reference}"
    for flag, reference in (pins or {}).items():
        if not flag.spans:
            contexts.update(_by_own_name(dockerfile, flag.name, reference, flag.line))
    return Injection(rewrite(dockerfile, names, pins), contexts)


def _by_own_name(dockerfile: Dockerfile, name: str, pinned: Reference, line: int) -> dict[str, str]:
    """The named context by which BuildKit takes ``pinned`` wherever it looks for the image ``name``."""
    named = Reference.parse(name)
    if named.digest:
        return {}
    for stage in dockerfile.stages:
        if stage.name == named.familiar:
            # The context would stand for the stage, whose steps BuildKit would leave out.
            raise DockerfileError(
                "stage_hides_image",
                f"The image {name} cannot be pinned, because {place_of(stage)} has its name.",
                hint="Give the stage another name.",
                place=Place(line=line),
            )
    return {named.familiar: f"docker-image://{pinned}"}


def _inseparable(stage: Stage, why: str) -> DockerfileError:
    return DockerfileError(
        "base_differs_by_platform",
        f"The base of {place_of(stage)} cannot be replaced for each platform: it {why}.",
        hint="Give the platforms as images of their own.",
        place=Place(line=stage.line),
    )
