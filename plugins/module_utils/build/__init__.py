# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""From a plan to pushed images: plan, compare, carry out, report."""
