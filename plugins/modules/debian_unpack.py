#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Unpack Debian packages into a folder of their own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: debian_unpack
short_description: Unpacks Debian packages into a folder, without installing them
version_added: 1.0.0
author: SODALITE image-builder authors (@sodalite-eu)
description:
  - Downloads packages from the Debian archive that the machine's own apt sources name, has apt verify
    them, and unpacks them below a folder. Nothing is installed, no maintainer script runs, and the
    machine's package lists stay as they are.
  - Dependencies are not followed.
  - What was unpacked is recorded in C(packages.json) in the folder; packages recorded there are not
    fetched again.
options:
  packages:
    description: Names of the packages.
    type: list
    elements: str
    required: true
  dest:
    description: The folder, created when missing.
    type: path
    required: true
  suite:
    description:
      - Code name of the Debian release to take the packages from.
      - The machine's own release when not given.
    type: str
  platforms:
    description:
      - Platforms such as V(linux/arm/v7) to unpack the packages for, each into its own folder below
        O(dest), such as C(armv7).
      - Then they are those of the release, without its updates.
      - When not given, the packages are those of the machine's own architecture and go into O(dest) itself.
    type: list
    elements: str
attributes:
  check_mode:
    description: Says whether packages would be unpacked; downloads nothing.
    support: full
  platform:
    description: Debian.
    support: full
    platforms: debian
"""

EXAMPLES = r"""
- name: Unpack Docker Engine of Debian 13
  sodalite.image_builder.debian_unpack:
    packages: [docker.io, docker-cli, docker-buildx, containerd]
    suite: trixie
    dest: /opt/image-builder

- name: Unpack a static shell for two platforms
  sodalite.image_builder.debian_unpack:
    packages: [busybox-static]
    platforms: [linux/amd64, linux/arm/v7]
    dest: /tmp/busybox
"""

RETURN = r"""
packages:
  description: Version of each package in the folder, by C(name:architecture).
  returned: always
  type: dict
  sample: {"docker.io:amd64": "26.1.5+dfsg1-9"}
error:
  description: The error for programs, with code, message and hint.
  returned: failure
  type: dict
"""

from pathlib import Path

from ..module_utils.machine.debian_unpack import Packages
from ..module_utils.module_run import AnsibleModule, opened


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "dest": {"type": "path", "required": True},
            "suite": {"type": "str"},
            "platforms": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    given = module.params
    with opened(module, "machine"):
        packages = Packages(given["packages"], given["suite"], given["platforms"] or ())
        done = packages.unpack_into(Path(given["dest"]), dry_run=module.check_mode)
        for warning in done.warnings:
            module.warn(warning)
        module.exit_json(changed=done.changed, packages=done.versions)


if __name__ == "__main__":
    main()
