# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Documents in files: reading and converting them."""
