# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Images in registries, a file a verb."""
