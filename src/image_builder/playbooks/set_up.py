# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a build needs on this machine: an engine and, for the samples, a registry and base images."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from ansible_collections.sodalite.image_builder.plugins.module_utils.document.document import Document
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import find as engine
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine.endpoint import naming_variable
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import (
    Cancelled,
    EngineError,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine import http_probe

from image_builder.playbooks import follow, opera
from image_builder.playbooks.sample import make_named_sample

#: The registry that the set-up playbook runs.
REGISTRY = "127.0.0.1:5000"
_TASK = re.compile(r"TASK \[(?:sodalite\.image_builder\.)?(.+?)\] \*+")
# Ansible's own are about the inventory, which the set-up has no use for.
_WARNING = re.compile(r"\[WARNING\]: (Debian .+)")
_FAILURE = re.compile(r"^\[ERROR\]: (?:Task failed: )?(?:(?:Module|Action) failed: )?(.+)$", re.MULTILINE)


def prepare(document: Document, scratch: Path, show: Callable[[str], None]) -> None:
    """Have ready what ``document`` needs: at once where it all answers, else by the set-up playbook.

    Raises ``EngineError`` where the machine cannot be set up.
    """
    make_named_sample(document)
    if not is_ready(document):
        show("Setting up this machine: an engine, emulators, a local registry, sample base images")
        set_up(scratch, show)


def is_ready(document: Document) -> bool:
    """Whether an engine answers, and the local registry with its base images if ``document`` pushes there."""
    if document.target.registry.host == REGISTRY and not _registry_has_bases():
        return False
    try:
        engine.find(document.options.builder)
    except EngineError as error:
        # Setting up an engine makes no builder that the document names, and no engine that a variable does.
        if error.code != "no_engine" or naming_variable():
            raise
        return False
    return True


def _registry_has_bases() -> bool:
    try:
        return http_probe.status(f"http://{REGISTRY}/v2/library/alpine/tags/list") == 200
    except (OSError, HTTPException):
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
    """Tells which task runs, if it does so for longer than a moment, and why no other release is used."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._begun = ""

    def take(self, line: str) -> None:
        """Take a line of Ansible's output: a task that begins, or what came of it."""
        match = _TASK.match(line)
        warning = _WARNING.match(line)
        if warning:
            self._show(f"  {warning[1]}")
        elif match:
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
    playbook = opera.program("ansible-playbook")
    tasks = Tasks(show)
    try:
        status = follow.run(
            follow.Program(
                [*playbook, f"sodalite.image_builder.{name}"],
                # Without the skipped ones, Ansible would name each task only when it has ended.
                opera.environment(scratch) | {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "1"},
                scratch,
            ),
            log=log,
            followed=log,
            show=tasks.take,
            idle=tasks.lasts,
        )
    except Cancelled:
        raise Cancelled(
            hint="Some of it is done. Run this again to go on, or take away what is there with: "
            f"{opera.program('image-builder')[-1]} engine down"
        ) from None
    if status:
        text = log.read_text(encoding="utf-8", errors="replace")
        said = _FAILURE.findall(text)
        raise EngineError(
            code,
            f"{failure}: {said[0] if said else text[-2000:]}",
            hint=f"See all of it with: {playbook[-1]} sodalite.image_builder.{name}",
        )
