# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What the images of a plan read, found out with the registries that have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Optional, Union

from ..dockerfile import build_args
from ..dockerfile.contexts import with_contexts
from ..dockerfile.frontend import Frontend, frontend_of
from ..dockerfile.instructions import Dockerfile
from ..dockerfile.overrides import Base, bases
from ..dockerfile.remote_adds import Remote, may_fetch, remote_adds
from ..dockerfile.stages import Resolution, UsedImage, refuse_unknown, resolve_all
from ..dockerfile.triggers import read_triggers
from ..document.target import Image
from ..engine.find import Engine
from ..errors import DockerfileError
from ..oci.platform import Platform
from ..oci.reference import Reference
from .abilities import refuse_missing
from .build_input import BuildInput, or_unplannable
from .lookup import Lookup
from .planned import Unplannable

# Of ONBUILD that leads to a stage whose base has one, and so on.
_MOST_ROUNDS = 20
# In characters, of all stages: a base of a hostile registry can have any number.
_MOST_TRIGGERED = 1 << 20


@dataclass(frozen=True)
class Draft:
    """An image, and what its build reads.

    ``triggers`` are the ONBUILD of its ``bases``, as their configs have it; ``remotes`` are what ADD fetches,
    for each platform of the image.
    """

    image: Image
    resolutions: tuple[Resolution, ...]
    bases: tuple[Base, ...]
    frontend: Optional[Frontend]
    triggers: Mapping[Base, tuple[str, ...]]
    remotes: tuple[tuple[Platform, Remote], ...] = ()

    @property
    def platforms(self) -> tuple[Platform, ...]:
        """Those that the image is made for."""
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
        """All images that the build reads, by the names that they have there."""
        found = [base.reference for base in self.bases] + [other.reference for other in self.others]
        return [*found, self.frontend.reference] if self.frontend else found


def drafts_of(
    dockerfile: Dockerfile, images: Sequence[Image], engine: Engine, source: BuildInput, lookup: Lookup
) -> list[Union[Draft, Unplannable]]:
    """The drafts of ``images``, of which registries were asked all that they need.

    What the ONBUILD of bases reads can be other stages, with bases of their own.
    """
    draft = partial(_draft, dockerfile, engine=engine, source=source)

    def again(before: Draft, left: int) -> Draft:
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

    drafts = [or_unplannable(source, image, partial(draft, image, {})) for image in images]
    for left in reversed(range(_MOST_ROUNDS)):
        made = [each for each in drafts if isinstance(each, Draft)]
        lookup.ask(reference for each in made for reference in each.references)
        lookup.ask_telling_configs(base for each in made for base in each.bases)
        before = drafts
        drafts = [
            or_unplannable(source, each.image, partial(again, each, left))
            if isinstance(each, Draft)
            else each
            for each in before
        ]
        if all(after is each for after, each in zip(drafts, before)):
            break
    made = [each for each in drafts if isinstance(each, Draft)]
    fetching = [draft for draft in made if any(may_fetch(each) for each in draft.resolutions)]
    lookup.ask_configs(base for each in fetching for base in each.bases)
    return [
        or_unplannable(source, each.image, partial(_with_remotes, dockerfile, each, lookup))
        if isinstance(each, Draft)
        else each
        for each in drafts
    ]


def _with_remotes(dockerfile: Dockerfile, draft: Draft, lookup: Lookup) -> Draft:
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
) -> Draft:
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
    return Draft(image, resolutions, chosen, frontend_of(dockerfile, image.build_args), triggers)
