# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What users write: types, checks, and where secrets are read."""
