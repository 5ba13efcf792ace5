# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""From a source in a document to a workspace that later steps can open."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Optional

from ..document.secrets import secrets_in
from ..document.source import Source
from ..errors import SourceError
from ..listener import HidingListener, Listener
from ..policy import PERMISSIVE, Policy
from ..process import time_limit
from ..sources import kinds
from ..sources.tree import Known, SourceTree
from ..sources.workspace import Workspace, remove_stale
from .guarded_listener import GuardedListener
from .hidden import hiding

_DESCRIPTION = "source.json"


@dataclass(frozen=True)
class Fetched:
    """A fetched source and the workspace that holds it."""

    workspace: str
    tree: SourceTree

    def to_dict(self) -> dict[str, Any]:
        """The result of the module ``source``."""
        names = ("context", "dockerfile", "revision", "committed_at", "url", "image")
        return {"workspace": self.workspace, **{name: getattr(self.tree, name) for name in names}}


def fetch_source(
    source: Source,
    custom_workdir: Optional[str],
    listener: Listener,
    *,
    lazy: bool = False,
    timeout: Optional[float] = None,
    policy: Policy = PERMISSIVE,
) -> Fetched:
    """Fetch ``source``, its secrets read, into a new workspace under ``custom_workdir``.

    With ``lazy`` a commit is not fetched of which an earlier plan remembered all that a plan needs;
    ``fetch_again`` does it, should something have to be built. ``timeout`` is in seconds;
    ``policy`` says to which addresses to connect, and how much to take.
    The workspace is handed on to a later process. Raises ``SourceError`` and ``Cancelled``;
    then nothing is left on disk. Workspaces that killed runs left there, or among
    the system's temporary files, are removed too.
    """
    secrets = secrets_in(source)
    listener = HidingListener(GuardedListener(listener), secrets)
    begun = time.monotonic()
    custom_workdir = custom_workdir and os.path.expanduser(custom_workdir)
    for folder in dict.fromkeys((custom_workdir, None)):
        for path in remove_stale(folder):
            listener.line(f"removed {path}, which an interrupted run had left")
    with hiding(secrets), time_limit(timeout), Workspace.create(custom_workdir) as workspace:
        # What is asked for is not remembered: between the fetch and the build a playbook may change it.
        fetch = kinds.fetch_unless_known if lazy else kinds.fetch
        tree = replace(fetch(source, workspace, listener, policy), seconds=time.monotonic() - begun)
        _write(tree, workspace)
        workspace.hand_on()
        return Fetched(workspace.path, tree)


def fetch_again(
    source: Optional[Source],
    commit: str,
    workspace: Workspace,
    listener: Listener,
    policy: Policy = PERMISSIVE,
) -> SourceTree:
    """The ``source`` at ``commit`` in the ``workspace`` that was made lazily.

    Raises as ``fetch_source`` does.
    """
    if source is None:
        raise SourceError(
            "source_not_fetched",
            f"The source was not fetched into {workspace.path}, and something must be built of it.",
            hint="Give 'source' too, or fetch it without 'lazy'.",
        )
    workspace.empty()
    tree = kinds.fetch(source, workspace, listener, policy, commit)
    _write(tree, workspace)
    return tree


def _write(tree: SourceTree, workspace: Workspace) -> None:
    with open(os.path.join(workspace.path, _DESCRIPTION), "w", encoding="utf-8") as file:
        json.dump(asdict(tree), file)


def read_source(workspace: Workspace) -> SourceTree:
    """The source that an earlier ``fetch_source`` left in ``workspace``. Raises ``SourceError``."""
    try:
        with open(os.path.join(workspace.path, _DESCRIPTION), encoding="utf-8") as file:
            content = json.load(file)
        known = content["known"] and Known(**content["known"])
        return SourceTree(**{**content, "warnings": tuple(content["warnings"]), "known": known})
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
