# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Named contexts of a document that are images, laid onto a Dockerfile.

BuildKit looks a named context up wherever the Dockerfile names an image. Here the image takes the name's
place, so that it is resolved, pinned and hashed as one that the Dockerfile names itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..errors import DockerfileError, Place
from ..oci.reference import Reference
from .instructions import Dockerfile, Stage
from .shell import shown


def with_contexts(dockerfile: Dockerfile, contexts: Mapping[str, Reference]) -> Dockerfile:
    """``dockerfile`` as if it named the images of ``contexts`` in place of their names.

    Its text, and where words stand there, are as before. Raises ``DockerfileError``: ``context_hides_stage``
    where a stage has the name of a context, ``unknown_context`` where nothing names it.
    """
    for name in contexts:
        stage = next((stage for stage in dockerfile.stages if stage.name == name.lower()), None)
        if stage is not None:
            raise DockerfileError(
                "context_hides_stage",
                f"The context '{shown(name)}' has the name of a stage, which it would replace as a whole.",
                hint="Give one of them another name, or give the stage another base.",
                place=Place(line=stage.line),
            )
        if not any(_names(stage, name) for stage in dockerfile.stages):
            raise DockerfileError(
                "unknown_context",
                f"Nothing in the Dockerfile names the context '{shown(name)}'.",
                hint="Name it in a FROM, a COPY --from, or the from of a RUN --mount, as it is written.",
            )
    return replace(dockerfile, stages=tuple(_with(stage, contexts) for stage in dockerfile.stages))


def _names(stage: Stage, name: str) -> bool:
    return stage.base == name or any(flag.name == name for flag in stage.from_flags)


def _with(stage: Stage, contexts: Mapping[str, Reference]) -> Stage:
    base = str(contexts.get(stage.base, stage.base))
    flags = tuple(
        replace(flag, name=str(contexts[flag.name])) if flag.name in contexts else flag
        for flag in stage.from_flags
    )
    return replace(stage, base=base, from_flags=flags)
