# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The commands of ``image-builder``, one a file: each parses, calls one function, and prints."""
