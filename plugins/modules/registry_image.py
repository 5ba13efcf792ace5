#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).

from __future__ import annotations

DOCUMENTATION = r"""
module: registry_image
short_description: Removes an image from a registry
version_added: 1.0.0
author: SODALITE image-builder authors (@sodalite-eu)
description:
  - Removes a tag, or what a digest names, from a registry.
  - A registry that can only delete whole manifests is asked to only if no other tag names the same one.
  - To put an image into a registry, see M(sodalite.image_builder.images).
extends_documentation_fragment:
  - sodalite.image_builder.docker_package
  - sodalite.image_builder.registry_login
attributes:
  check_mode:
    description: Can run in check mode, and then only tells whether something would be removed.
    support: full
  diff_mode:
    description: Has no difference to show.
    support: none
options:
  state:
    description: V(absent) removes the image.
    type: str
    choices: [absent]
    required: true
"""

EXAMPLES = r"""
- name: Remove a tag
  sodalite.image_builder.registry_image:
    reference: registry.example.com/team/app:old
    username: builder
    password:
      file: /run/secrets/registry
    state: absent
"""

RETURN = r"""
reference:
  description: The reference in its full form.
  returned: success
  type: str
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
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.registry_image import remove


def main() -> None:
    module = module_run.AnsibleModule(
        argument_spec={
            **REGISTRY_LOGIN,
            "state": {"type": "str", "choices": ["absent"], "required": True},
        },
        supports_check_mode=True,
    )
    with module_run.opened(module):
        given = module.params
        wanted, account = accept_image(given["reference"], given["username"], given["password"])
        module.exit_json(**remove(wanted, account, only_ask=module.check_mode))


if __name__ == "__main__":
    main()
