# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Git repositories: one commit of them, ready to build."""
