# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What ADD fetches from an address, and that may be something else the next time.

Rules: the Dockerfile reference, "ADD": an http or https address, or that of a git repository. What a checksum
or a full commit names is always the same.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from .instructions import Dockerfile, RemoteAdd
from .stages import Resolution

_REMOTE = re.compile(r"(https?|git|ssh)://|git@")
_COMMIT = re.compile(r"(\.git|\A(git|ssh)://[^#]*|\Agit@[^#]*)#[0-9a-f]{40}([0-9a-f]{24})?(:|\Z)")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_GIVEN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:=|[\t ]+)[\"']?(?=(?:https?|git|ssh)://|git@)")


def moving_adds(
    dockerfile: Dockerfile, resolutions: Sequence[Resolution], build_args: Mapping[str, str]
) -> list[RemoteAdd]:
    """The ADDs of the stages in use whose content can change though nothing in the source does.

    A source with variables counts where one of them may be an address.
    """
    remote = {name for name, value in build_args.items() if _REMOTE.match(value)}
    remote.update(_GIVEN.findall(dockerfile.text))
    found: dict[RemoteAdd, None] = {}
    for resolution in resolutions:
        for used in resolution.stages:
            above = () if used.parent is None else dockerfile.stages[used.parent].adds
            in_force = [add for add in used.stage.adds if not add.onbuild]
            in_force += [add for add in above if add.onbuild]
            in_force += used.triggers.adds
            for add in in_force:
                if not add.checksum and any(_moves(word, remote) for word in add.sources):
                    found[add] = None
    return list(found)


def _moves(word: str, remote: Collection[str]) -> bool:
    """Whether ``word`` is a moving address, or has one of the variables ``remote``."""
    word = word.strip("'\"")
    if _REMOTE.match(word):
        return not _COMMIT.search(word)
    return any(name in remote for name in _VARIABLE.findall(word))
