# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Blueprints that include this library, as others write them, and opera run on them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.support.run import ROOT, VENV, Machine, Outcome, Run

#: The environments with the two versions of opera.
OPERAS = {"0.6.6": ROOT / ".venv-opera-0.6", "0.7.0": VENV}


class Blueprint:
    """A blueprint of ``tests/blueprints`` in a folder of its own, with a copy of this library.

    The variable ``REGISTRY_PASSWORD`` of its environment is ``password``; ``version`` is
    that of the opera that deploys it.
    """

    def __init__(
        self, name: str, machine: Machine, folder: Path, password: str = "", version: str = "0.7.0"
    ) -> None:
        shutil.copytree(ROOT / "tests" / "blueprints" / name, folder)
        for part in ("library", "playbooks"):
            shutil.copytree(ROOT / part, folder / "modules" / "image_builder" / part)
        self.folder = folder
        self._machine = machine
        programs = OPERAS[version] / "bin"
        self._program = str(programs / "opera")
        self._environment = {
            **machine.environment,
            "PATH": os.pathsep.join([str(programs), machine.environment["PATH"]]),
            "REGISTRY_PASSWORD": password,
        }
        self._count = 0

    def opera(self, command: str, *arguments: str) -> Outcome:
        """Run ``command`` of opera, which must succeed."""
        outcome = self.run(command, *arguments)
        assert outcome.status == 0, outcome.output
        return outcome

    def run(self, command: str, *arguments: str) -> Outcome:
        """Run ``command`` of opera."""
        self._count += 1
        output = self._machine.folder / f"blueprint-{self._count}"
        output.mkdir()
        kept = ("--instance-path", str(self._machine.instance))
        argv = [self._program, command, *(() if command in ("package", "validate") else kept), *arguments]
        return Run(argv, output, self.folder, self._environment).finish()

    def outputs(self) -> dict[str, Any]:
        """The outputs of the deployment by name."""
        outputs = json.loads(self.opera("outputs", "--format", "json").stdout)
        return {name: entry["value"] for name, entry in outputs.items()}
