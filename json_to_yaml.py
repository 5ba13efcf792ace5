#!/usr/bin/env python3
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Converts documents from JSON to YAML or back; the same as ``image-builder convert``.

It runs in the environment of this repository, and makes that where it is missing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    top = Path(__file__).resolve().parent
    made = subprocess.run([str(top / "scripts" / "environment"), "run"])
    if made.returncode:
        sys.exit(made.returncode)
    python = str(top / ".venv" / "bin" / "python")
    os.execv(python, [python, "-m", "image_builder", "convert", *sys.argv[1:]])
