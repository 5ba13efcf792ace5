# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""From a source of a document to a tree in a workspace."""
