# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Setting a machine up, for roles; never for a build."""
