# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Where the build context and the Dockerfile lie in a fetched tree."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import SourceError
from .dockerignore import find_ignore
from .workspace import Workspace


def find_context(workspace: Workspace, workdir: str, where: str, kind: str, key: str = "workdir") -> str:
    """The folder ``workdir`` of the tree.

    In errors ``where`` names the tree, ``kind`` says what it is (``repository``), and ``key`` is the
    parameter. Raises ``SourceError`` ``workdir_missing`` or ``path_outside_source``.
    """
    context = workspace.path_inside(workdir, key)
    if not os.path.isdir(context):
        raise SourceError(
            "workdir_missing",
            f"{where} has no folder {workdir!r}.",
            hint=f"Give {key!r} relative to the {kind}'s root.",
        )
    return context


@dataclass(frozen=True)
class FoundDockerfile:
    """The absolute path of a Dockerfile, links resolved, that of its ``.dockerignore``, and warnings."""

    path: str
    dockerignore: str
    warnings: tuple[str, ...]


def find_dockerfile(
    workspace: Workspace, dockerfile: str, workdir: str, where: str, kind: str
) -> FoundDockerfile:
    """The Dockerfile, what stays out of its build, and warnings.

    It is looked for from the tree's root, then from ``workdir``: documents have always named both
    from the root, but a ``workdir`` often brings its own ``Dockerfile``. Raises ``SourceError``
    ``no_dockerfile``, ``path_outside_source`` or ``dockerignore_invalid``.
    """
    workspace.path_inside(dockerfile, "dockerfile")
    places = [os.path.normpath(dockerfile)]
    beside = os.path.normpath(os.path.join(workdir, dockerfile))
    if beside not in places:
        places.append(beside)
    found = {place: workspace.path_inside(place, "dockerfile") for place in places}
    files = [place for place, path in found.items() if os.path.isfile(path)]
    if not files:
        raise SourceError(
            "no_dockerfile",
            f"{where} has no Dockerfile: looked for {' and '.join(places)}.",
            hint=f"Give its path from the {kind}'s root as 'dockerfile'.",
        )
    warnings: tuple[str, ...] = ()
    if len(files) > 1 and found[files[0]] != found[files[1]]:
        warnings = (f"The {kind} has {files[0]} and {files[1]}; {files[0]} is used.",)
    root = os.path.realpath(workspace.context)
    context = workspace.path_inside(workdir, "workdir")
    ignore = find_ignore(root, context, os.path.join(root, files[0]))
    return FoundDockerfile(found[files[0]], ignore, warnings)
