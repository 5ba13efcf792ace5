# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How fast image-builder is, as ratios to what one would write by hand: ``python -m benchmarks``."""
