# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Documentation of the Python package that asking engines and registries takes."""

from __future__ import annotations


class ModuleDocFragment:
    """What modules need that ask an engine or a registry, or download."""

    DOCUMENTATION = r"""
options: {}
requirements:
  - docker >= 5.0 (the Python package; Debian's python3-docker) on the host where the module runs
"""
