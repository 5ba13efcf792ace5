# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The repository of the samples, made on this machine when a document names it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from ansible_collections.sodalite.image_builder.plugins.module_utils.document.document import Document
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import GitRepo
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError

from image_builder.playbooks.collection import ROOT

#: The repository that inputs/hello.yaml names, absolute because opera works in a folder of its own.
SAMPLE = Path("/var/cache/image-builder/hello.git")
_GIT_SECONDS = 60


def make_named_sample(document: Document) -> None:
    """Have the samples' repository ready where ``document`` names it. Raises ``SourceError``."""
    if isinstance(document.source, GitRepo) and document.source.url == SAMPLE.as_uri():
        make_sample_repository()


def make_sample_repository() -> None:
    """Make the repository of the samples from the files in ``samples/hello``: the same commit each time.

    Raises ``SourceError`` where this user may not write it, or git fails.
    """
    identity = {
        "GIT_AUTHOR_NAME": "image-builder",
        "GIT_AUTHOR_EMAIL": "image-builder@localhost",
        "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    }
    identity |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in identity.items()}
    env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | identity
    # The user's own settings (signing, hooks, another first branch) must not change the commit.
    env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], env=env, check=True, capture_output=True, timeout=_GIT_SECONDS)

    try:
        SAMPLE.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=SAMPLE.parent) as folder:
            made = Path(folder, "hello.git")
            git("init", "--quiet", "--bare", "--initial-branch=main", "--template=", str(made))
            tree = ("--git-dir", str(made), "--work-tree", str(ROOT / "samples" / "hello"))
            git(*tree, "add", "--all", ".")
            git(*tree, "commit", "--quiet", "--message=Say hello")
            (made / "index").unlink()
            _replace(made, SAMPLE)
    except OSError as error:
        raise SourceError(
            "sample_unwritable",
            f"The sample repository {SAMPLE} cannot be written: {error.strerror}.",
            hint="Run this command as root, or build a repository of your own.",
        ) from None
    except subprocess.SubprocessError as error:
        words = (getattr(error, "stderr", None) or b"").decode(errors="replace").strip() or error
        raise SourceError(
            "sample_failed",
            f"git cannot make the sample repository {SAMPLE}: {words}.",
            hint="Check the git of this machine, or build a repository of your own.",
        ) from None


def _replace(made: Path, place: Path) -> None:
    """Put the folder ``made`` at ``place``, unless the same commit is there already."""
    head = Path("refs", "heads", "main")
    if (place / head).exists() and (place / head).read_bytes() == (made / head).read_bytes():
        return
    if place.exists():
        place.rename(made.with_name("old"))
    made.rename(place)
