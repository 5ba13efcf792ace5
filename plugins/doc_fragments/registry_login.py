# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Documentation of the options that modules share which talk to one registry."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of ``registry_image`` and ``registry_image_info``."""

    DOCUMENTATION = r"""
options:
  reference:
    description:
      - Reference of the image, as C(docker pull) takes it, with a tag or a digest. The default tag is
        V(latest).
    type: str
    required: true
  username:
    description:
      - Name to log in with. Without one, what the user's Docker configuration holds for the registry is used.
    type: str
  password:
    description: "Password or token to log in with, as text or as V({env: NAME}) or V({file: PATH})."
    type: raw
notes:
  - Where a Docker Engine is found, its settings for registries (mirrors, insecure registries) are followed.
"""
