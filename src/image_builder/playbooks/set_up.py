# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a build needs on this machine: an engine and, for the samples, a registry, bases and a repository."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import find as engine
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import (
    Cancelled,
    EngineError,
    SourceError,
)

from image_builder.playbooks import follow
from image_builder.playbooks import opera as blueprint
from image_builder.playbooks.collection import ROOT

#: The registry that the set-up playbook runs.
REGISTRY = "127.0.0.1:5000"
#: The repository that inputs/hello.yaml names, absolute because opera works in a folder of its own.
SAMPLE = Path("/var/cache/image-builder/hello.git")
_TASK = re.compile(r"TASK \[(?:sodalite\.image_builder\.)?(.+?)\] \*+")
_FAILURE = re.compile(r"^\[ERROR\]: (?:Task failed: )?(?:(?:Module|Action) failed: )?(.+)$", re.MULTILINE)


def prepare(document: Mapping[str, Any], scratch: Path, show: Callable[[str], None]) -> None:
    """Have ready what ``document`` needs: at once where it all answers, else by the set-up playbook.

    Raises ``EngineError`` where the machine cannot be set up.
    """
    make_named_sample(document)
    if not is_ready(document):
        show("Setting up this machine: an engine, emulators, a local registry, sample base images")
        set_up(scratch, show)


def make_named_sample(document: Mapping[str, Any]) -> None:
    """Have the samples' repository ready where ``document`` names it. Raises ``SourceError``."""
    if (document["source"].get("git_repo") or {}).get("url") == SAMPLE.as_uri():
        make_sample_repository()


def is_ready(document: Mapping[str, Any]) -> bool:
    """Whether an engine answers, and the local registry with its base images if ``document`` pushes there."""
    if document["target"]["registry"]["url"] == REGISTRY and not _registry_has_bases():
        return False
    try:
        engine.find((document.get("options") or {}).get("builder"))
    except EngineError as error:
        # Setting up an engine makes neither a builder that the document names nor the engine of DOCKER_HOST.
        if error.code != "no_engine" or os.environ.get("DOCKER_HOST"):
            raise
        return False
    return True


def _registry_has_bases() -> bool:
    try:
        with urllib.request.urlopen(f"http://{REGISTRY}/v2/library/alpine/tags/list", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def set_up(scratch: Path, show: Callable[[str], None]) -> None:
    """Run the set-up playbook, telling ``show`` its tasks. Raises ``EngineError`` with what went wrong."""
    if os.geteuid() != 0:
        raise EngineError(
            "no_engine",
            "No Docker Engine that can build several platforms was found, and only root can set one up.",
            hint="Run this command as root once, or ask for access to an engine.",
        )
    _run_playbook("setup", "setup_failed", "This machine could not be set up", scratch, show)


def take_down(scratch: Path, show: Callable[[str], None]) -> None:
    """Run the playbook that takes away what ``set_up`` brought. Raises ``EngineError``."""
    if os.geteuid() != 0:
        raise EngineError(
            "not_root", "Only root can take down what root has set up.", hint="Run this command as root."
        )
    _run_playbook("teardown", "teardown_failed", "Not everything could be taken down", scratch, show)


class Tasks:
    """Tells which task of a playbook runs, if it does so for longer than a moment."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._begun = ""

    def take(self, line: str) -> None:
        """Take a line of Ansible's output: a task that begins, or what came of it."""
        match = _TASK.match(line)
        if match:
            self._begun = "  " + match[1].replace(" : ", ": ")
        elif line:
            self._begun = ""

    def lasts(self) -> None:
        """Tell the task that has begun and not ended, once."""
        if self._begun:
            self._show(self._begun)
            self._begun = ""


def _run_playbook(name: str, code: str, failure: str, scratch: Path, show: Callable[[str], None]) -> None:
    log = scratch / f"{name}.log"
    playbook = blueprint.program("ansible-playbook")
    tasks = Tasks(show)
    try:
        status = follow.run(
            [*playbook, f"sodalite.image_builder.{name}"],
            # Without the skipped ones, Ansible would name each task only when it has ended.
            env=blueprint.environment(scratch)
            | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "1"},
            cwd=scratch,
            log=log,
            followed=log,
            show=tasks.take,
            idle=tasks.lasts,
        )
    except Cancelled:
        raise Cancelled(
            hint="Some of it is done. Run this again to go on, or take away what is there with: "
            f"{blueprint.program('image-builder')[-1]} engine down"
        ) from None
    if status:
        text = log.read_text(encoding="utf-8", errors="replace")
        said = _FAILURE.findall(text)
        raise EngineError(
            code,
            f"{failure}: {said[0] if said else text[-2000:]}",
            hint=f"See all of it with: {playbook[-1]} sodalite.image_builder.{name}",
        )


def make_sample_repository() -> None:
    """Make the repository of the samples from the files in ``samples/hello``: the same commit each time.

    Raises ``SourceError`` where this user may not write it.
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
        subprocess.run(["git", *arguments], env=env, check=True, capture_output=True)

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


def _replace(made: Path, place: Path) -> None:
    """Put the folder ``made`` at ``place``, unless the same commit is there already."""
    head = Path("refs", "heads", "main")
    if (place / head).exists() and (place / head).read_bytes() == (made / head).read_bytes():
        return
    if place.exists():
        place.rename(made.with_name("old"))
    made.rename(place)
