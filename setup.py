# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What pyproject.toml cannot say: the version stands in galaxy.yml, and building leaves nothing in the tree.

A ``build`` folder that stays would bring files that have since been removed into the next wheel.
"""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

from setuptools import setup

METADATA = Path(__file__).with_name("galaxy.yml").read_text(encoding="utf-8")
found = re.search(r"^version: *(\S+)$", METADATA, re.M)
if found is None:
    raise SystemExit("galaxy.yml has no version.")

with TemporaryDirectory() as scratch:
    setup(
        script_name="setup.py",  # else the wheel takes this file for a module of the collection
        version=found[1],
        options={"build": {"build_base": scratch}, "egg_info": {"egg_base": scratch}},
    )
