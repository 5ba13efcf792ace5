# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A tar archive as a source: unpacked while it arrives, then told apart.

With the Dockerfile that the document names, it is a build context. Without one it is an image
where it has the layout that OCI tools or ``docker save`` write. What stands in one folder that is all
the archive holds, as in those that hosting services make of repositories, is looked for there too.
"""

from __future__ import annotations

import os
from typing import Optional

from ...document.source import Archive
from ...errors import SourceError
from ...listener import Listener
from ...policy import Policy
from ..download import login_warning, opened, patiently
from ..locate import FoundDockerfile, find_context, find_dockerfile
from ..tree import Identity, SourceTree
from ..workspace import Workspace, remove_tree, unusable
from .decompression import decompressed
from .unpack import unpack

_KIND = "archive"


def identify(source: Archive, listener: Listener, policy: Policy) -> Optional[Identity]:
    """``None``: an archive is told by the digest of all of it."""
    return None


def fetch(
    source: Archive,
    identity: Optional[Identity],
    workspace: Workspace,
    listener: Listener,
    policy: Policy,
) -> SourceTree:
    """Unpack the archive into ``workspace.context``.

    Raises ``SourceError`` (the codes of ``download.opened`` and ``unpack.unpack``,
    ``checksum_mismatch``, ``zstd_missing``, ``no_dockerfile``, ``workdir_missing``,
    ``path_outside_source``).
    """

    def once() -> tuple[str, int]:
        workspace.empty()
        with opened(source.file, policy.reach) as body, decompressed(body) as content:
            newest = unpack(content, body, workspace.context, policy.source)
            return body.finish(), newest

    listener.line(f"fetching {source.file.shown}")
    digest, newest = patiently(once, listener)
    image = False
    try:
        found = _dockerfile(source, workspace)
        context = find_context(workspace, source.workdir, source.file.shown, _KIND)
    except SourceError as error:
        image = error.code == "no_dockerfile" and holds_image(workspace.context)
        if not image:
            raise
        context, found = os.path.realpath(workspace.context), FoundDockerfile("", "", ())
    return SourceTree(
        root=os.path.realpath(workspace.context),
        context=context,
        dockerfile=found.path,
        dockerignore=found.dockerignore,
        revision=digest,
        committed_at=newest,
        url=source.file.shown,
        warnings=(*login_warning(source.file), *found.warnings),
        image=image,
    )


def holds_image(folder: str) -> bool:
    """Whether ``folder`` has the layout of the OCI image specification, or that of ``docker save``."""
    names = set(os.listdir(folder))
    return {"oci-layout", "index.json"} <= names or "manifest.json" in names


def _dockerfile(source: Archive, workspace: Workspace) -> FoundDockerfile:
    where = source.file.shown
    try:
        return find_dockerfile(workspace, source.dockerfile, source.workdir, where, _KIND)
    except SourceError as error:
        if error.code != "no_dockerfile" or not _lift_single_folder(workspace):
            raise
    return find_dockerfile(workspace, source.dockerfile, source.workdir, where, _KIND)


def _lift_single_folder(workspace: Workspace) -> bool:
    """Make the one folder that the tree holds the tree; whether there was one.

    What macOS puts beside it goes: ``._NAME`` (AppleDouble, RFC 1740), ``.DS_Store``, ``__MACOSX``.
    """
    names = [name for name in os.listdir(workspace.context) if not _of_macos(name)]
    if len(names) != 1:
        return False
    inner = os.path.join(workspace.context, names[0])
    if os.path.islink(inner) or not os.path.isdir(inner):
        return False
    aside = os.path.join(workspace.path, "lifted")
    try:
        os.rename(inner, aside)
        remove_tree(workspace.context)
        os.rename(aside, workspace.context)
    except OSError as error:
        raise unusable(workspace.path, error) from None
    return True


def _of_macos(name: str) -> bool:
    return name.startswith("._") or name in (".DS_Store", "__MACOSX")
