# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""From a source in a document to a workspace that later steps can open."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Callable, Optional

from . import dockerfile_source, git_source, tar_source
from .errors import SourceError
from .parameters import check_source
from .source import Archive, Source, SourceTree, StandaloneDockerfile
from .workspace import Workspace, remove_stale

_DESCRIPTION = "source.json"


@dataclass(frozen=True)
class Fetched:
    """A fetched source and the workspace that holds it."""

    workspace: str
    tree: SourceTree

    def to_dict(self) -> dict[str, Any]:
        """The result of the module ``source``."""
        tree = asdict(self.tree)
        return {
            "workspace": self.workspace,
            **{k: v for k, v in tree.items() if k not in ("root", "warnings")},
        }


def fetch_source(
    raw: Mapping[str, Any], custom_workdir: Optional[str], report: Callable[[str], None]
) -> Fetched:
    """Fetch the source that a document describes into a new workspace under ``custom_workdir``.

    The workspace is handed on to a later process. Raises ``ParameterError`` and ``SourceError``;
    then nothing is left on disk. Workspaces that killed runs left there are removed too.
    """
    source = check_source(raw)
    for path in remove_stale(custom_workdir):
        report(f"removed {path}, which an interrupted run had left")
    with Workspace.create(custom_workdir) as workspace:
        tree = _fetch(source, workspace, report)
        with open(os.path.join(workspace.path, _DESCRIPTION), "w", encoding="utf-8") as file:
            json.dump(asdict(tree), file)
        workspace.hand_on()
        return Fetched(workspace.path, tree)


def _fetch(source: Source, workspace: Workspace, report: Callable[[str], None]) -> SourceTree:
    if isinstance(source, StandaloneDockerfile):
        return dockerfile_source.fetch(source, workspace, progress=report)
    if isinstance(source, Archive):
        return tar_source.fetch(source, workspace, progress=report)
    return git_source.fetch(source, workspace, progress=report)


def read_source(workspace: Workspace) -> SourceTree:
    """The source that an earlier ``fetch_source`` left in ``workspace``. Raises ``SourceError``."""
    try:
        with open(os.path.join(workspace.path, _DESCRIPTION), encoding="utf-8") as file:
            content = json.load(file)
        return SourceTree(**{**content, "warnings": tuple(content["warnings"])})
    except (OSError, ValueError, TypeError, KeyError):
        raise SourceError(
            "no_workspace",
            f"The workspace {workspace.path} holds no fetched source.",
            hint="Fetch the source again.",
        ) from None


def remove_source(path: str) -> bool:
    """Remove the workspace at ``path``. Returns whether there was one. Raises ``SourceError``."""
    try:
        workspace = Workspace.open(path)
    except SourceError as error:
        if error.code == "no_workspace":
            return False
        raise
    workspace.remove()
    return True
