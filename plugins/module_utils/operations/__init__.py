# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What one door calls, a file each: build the images, fetch the source, inject bases, ask a registry."""
