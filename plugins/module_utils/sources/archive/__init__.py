# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Tar archives: decompressed and unpacked while they arrive."""
