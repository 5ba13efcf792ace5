# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The application around the engine: what a person types and reads."""
