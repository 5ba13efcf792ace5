# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a person sees: rows, tables, endings."""
