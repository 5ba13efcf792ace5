#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).

from __future__ import annotations

DOCUMENTATION = r"""
module: dockerfile
short_description: Injects base images into a Dockerfile
version_added: 1.0.0
author: SODALITE image-builder authors (@sodalite-eu)
description:
  - Reads a Dockerfile as BuildKit does, reports the base image of each stage, and writes a copy in which the
    chosen base images stand in place of the Dockerfile's own. All else stays as it is, byte for byte.
  - M(sodalite.image_builder.images) does this by itself. This module serves other ways to build.
attributes:
  check_mode:
    description: Can run in check mode, and then does not write O(dest).
    support: full
  diff_mode:
    description: Has no difference to show.
    support: none
options:
  path:
    description: Path of the Dockerfile. It is never changed.
    type: path
    required: true
  dest:
    description: Path to write the copy to. Without it the Dockerfile is only read.
    type: path
  base:
    description:
      - Base image to inject. A reference replaces the first base image that is not V(scratch), in every stage
        that starts from it.
      - A mapping has the keys V(first), V(final), V(all), the name or index of a stage, or a reference as
        written in the Dockerfile, and as values a reference or a mapping from platform to reference.
    type: raw
  platforms:
    description: Platforms that will be built. The default is O(build_platform).
    type: list
    elements: str
  build_args:
    description: Build arguments that will be given.
    type: dict
  target:
    description: Name or index of the stage that will be built. The default is the last one.
    type: str
  build_platform:
    description: Platform of the builder.
    type: str
    default: linux/amd64
"""

EXAMPLES = r"""
- name: Write a variant of the Dockerfile
  sodalite.image_builder.dockerfile:
    path: /src/app/Dockerfile
    dest: /src/app/Dockerfile.python-3.8
    base: python:3.8-alpine
  register: variant
"""

RETURN = r"""
bases:
  description:
    - The base image of each stage that the target needs, for each platform, with C(stage), C(stage_name),
      C(line), C(platform), C(original) (as the Dockerfile says), C(reference) (in effect) and C(overridden).
  returned: success
  type: list
  elements: dict
contexts:
  description:
    - Named contexts to hand to C(docker buildx bake). They are needed only where a stage has different bases
      on different platforms; then its base in O(dest) is such a name.
  returned: success
  type: dict
error:
  description: The error for programs.
  returned: failure
  type: dict
"""

from ansible_collections.sodalite.image_builder.plugins.module_utils import module_run
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.check import check_build
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.inject_bases import (
    inject_bases,
)


def main() -> None:
    module = module_run.AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "dest": {"type": "path"},
            "base": {"type": "raw"},
            "platforms": {"type": "list", "elements": "str"},
            "build_args": {"type": "dict"},
            "target": {"type": "str"},
            "build_platform": {"type": "str", "default": "linux/amd64"},
        },
        supports_check_mode=True,
    )
    given = module.params
    with module_run.opened(module):
        raw = {name: given[name] for name in ("base", "platforms", "build_args", "target")}
        image, native = check_build(raw, given["build_platform"])
        module.exit_json(
            **inject_bases(given["path"], image, native, given["dest"], only_ask=module.check_mode)
        )


if __name__ == "__main__":
    main()
