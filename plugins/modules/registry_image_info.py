#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_image_info
short_description: Reads what a registry holds for a reference
version_added: 1.0.0
author: SODALITE image-builder authors (@sodalite-eu)
description:
  - Asks a registry for the digest, the platforms and the annotations of an image, without pulling it.
extends_documentation_fragment:
  - sodalite.image_builder.docker_package
  - sodalite.image_builder.registry_login
attributes:
  check_mode:
    description: Can run in check mode, and does the same there.
    support: full
  diff_mode:
    description: Has no difference to show.
    support: none
"""

EXAMPLES = r"""
- name: Ask which platforms an image has
  sodalite.image_builder.registry_image_info:
    reference: registry.example.com/team/app:latest
  register: app
"""

RETURN = r"""
exists:
  description: Whether the registry holds the reference.
  returned: success
  type: bool
reference:
  description: The reference in its full form.
  returned: success
  type: str
digest:
  description: Digest of what the reference names, an index or a manifest.
  returned: when it exists
  type: str
media_type:
  description: Media type of what the reference names.
  returned: when it exists
  type: str
annotations:
  description: Annotations of what the reference names.
  returned: when it exists
  type: dict
platforms:
  description: Each C(platform) with the C(digest) of its manifest.
  returned: when it exists
  type: list
  elements: dict
attestations:
  description: Digests of the attestations, by the digest of the manifest they are about.
  returned: when it exists
  type: dict
error:
  description: The error for programs.
  returned: failure
  type: dict
"""

from ansible_collections.sodalite.image_builder.plugins.module_utils import module_run
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_image
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.argument_spec import (
    REGISTRY_LOGIN,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.registry_image import describe


def main() -> None:
    module = module_run.AnsibleModule(argument_spec=REGISTRY_LOGIN, supports_check_mode=True)
    with module_run.opened(module):
        given = module.params
        wanted, account = accept_image(given["reference"], given["username"], given["password"])
        module.exit_json(changed=False, **describe(wanted, account))


if __name__ == "__main__":
    main()
