# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Makes ``tests.…`` importable from every test, however pytest was started."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
