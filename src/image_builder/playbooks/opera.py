# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Deploying the service template with opera, and what came of it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from image_builder.playbooks import follow
from image_builder.playbooks.collection import ROOT

_MARKERS = re.compile(r"\[Worker_\d+\]")
_ERRORS = re.compile(r"^(?:\[ERROR\]|ERROR!?):? (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What came of a deployment: the ``images`` as the build reports them, and the ``error`` if it failed."""

    images: Sequence[Mapping[str, Any]]
    error: str


def deploy(document: Mapping[str, Any], scratch: Path, show: Callable[[str], None]) -> Outcome:
    """Build what ``document`` says, telling ``show`` each step. All that opera writes goes to ``scratch``."""
    result, log, progress = scratch / "result.json", scratch / "opera.log", scratch / "progress"
    instance, inputs = scratch / "instance", scratch / "inputs.yaml"
    instance.mkdir()
    # What was checked, and not what opera would read in the file: it takes JSON for YAML.
    inputs.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    named_files = {"IMAGE_BUILDER_PROGRESS": str(progress), "IMAGE_BUILDER_RESULT": str(result)}
    argv = [
        *program("opera"),
        *("deploy", "--instance-path", str(instance), "--inputs", str(inputs)),
        "docker_image_definition.yaml",
    ]
    opera = follow.Program(argv, environment(scratch) | named_files, ROOT)
    status = follow.run(opera, log=log, followed=progress, show=show)
    found = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    error = ""
    if status:
        error = found.get("msg") or _said(log.read_text(encoding="utf-8", errors="replace"))
    return Outcome(found.get("images") or [], error)


def program(name: str) -> list[str]:
    """The command that starts a program of this installation."""
    return [sys.executable, str(Path(sys.executable).with_name(name))]


def environment(scratch: Path) -> dict[str, str]:
    """The environment for programs of this installation, with all their temporary files in ``scratch``.

    opera and Ansible leave files with the inputs in clear text when they are killed.
    """
    # opera reads Ansible's output as JSON, which more words would break.
    kept = {key: value for key, value in os.environ.items() if key != "ANSIBLE_VERBOSITY"}
    temporary = scratch / "tmp"
    temporary.mkdir(exist_ok=True)
    programs = str(Path(sys.executable).parent)
    return kept | {
        "PATH": os.pathsep.join([programs, os.environ.get("PATH", os.defpath)]),
        "TMPDIR": str(temporary),
        # Ansible ends at once where the locale is not UTF-8, or came by SSH and is not on this machine.
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_LOCAL_TEMP": str(temporary),
        "ANSIBLE_REMOTE_TMP": str(temporary),
    }


def _said(log: str) -> str:
    """What opera and Ansible said of a failure, without their markers."""
    errors = _ERRORS.findall(log)
    if errors:
        return "\n".join(errors)
    lines = [line for line in log.splitlines() if line.strip() and not _MARKERS.match(line)]
    return "opera failed:\n" + "\n".join(lines[-20:])
