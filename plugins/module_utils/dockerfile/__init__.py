# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The Dockerfile language, in BuildKit's words; it asks nobody."""
