# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The words of the OCI specifications: reference, platform, digest, manifest, layout."""
