# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How other machines are named and reached; the one place to forbid an address."""
