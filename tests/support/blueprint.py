# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Blueprints that include this library, as others write them, and opera run on them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.support.run import ROOT, Machine, Outcome, Run


class Blueprint:
    """A blueprint of ``tests/blueprints`` in a folder of its own, with a copy of this library.

    The variable ``REGISTRY_PASSWORD`` of its environment is ``password``.
    """

    def __init__(self, name: str, machine: Machine, folder: Path, password: str) -> None:
        shutil.copytree(ROOT / "tests" / "blueprints" / name, folder)
        for part in ("library", "playbooks"):
            shutil.copytree(ROOT / part, folder / "modules" / "image_builder" / part)
        self.folder = folder
        self._machine = machine
        self._environment = {**machine.environment, "REGISTRY_PASSWORD": password}
        self._count = 0

    def opera(self, command: str, *arguments: str) -> Outcome:
        """Run ``command`` of opera, which must succeed."""
        self._count += 1
        output = self._machine.folder / f"blueprint-{self._count}"
        output.mkdir()
        instance = () if command == "validate" else ("--instance-path", str(self._machine.instance))
        outcome = Run(
            ["opera", command, *instance, *arguments], output, self.folder, self._environment
        ).finish()
        assert outcome.status == 0, outcome.output
        return outcome

    def outputs(self) -> dict[str, Any]:
        """The outputs of the deployment by name."""
        outputs = json.loads(self.opera("outputs", "--format", "json").stdout)
        return {name: entry["value"] for name, entry in outputs.items()}
