# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The Docker Engine that builds."""
