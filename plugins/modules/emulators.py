#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Have the kernel run other platforms' programs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: emulators
short_description: Has the kernel run other platforms' programs
version_added: 1.0.0
author: SODALITE image-builder authors (@sodalite-eu)
description:
  - Registers QEMU's user emulators with the kernel (binfmt_misc, with the F flag) for those platforms that
    the machine cannot run yet. Entries that are there already are used and never changed.
  - The emulators come from the machine's own distribution and are unpacked into a folder, not installed.
  - Entries are named after O(name), so V(absent) removes its own only. They last until the machine is
    started again.
options:
  name:
    description: Prefix of the names of the entries.
    type: str
    required: true
  platforms:
    description: Platforms to run, such as V(linux/arm64).
    type: list
    elements: str
    default: []
  root:
    description: Folder that takes the unpacked emulators.
    type: path
    required: true
  state:
    description: Whether the emulators should be registered.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says whether something would be registered or removed.
    support: full
  platform:
    description: Debian.
    support: full
    platforms: debian
"""

EXAMPLES = r"""
- name: Run programs of 64-bit and 32-bit ARM
  sodalite.image_builder.emulators:
    name: image-builder
    platforms: [linux/arm64, linux/arm/v7]
    root: /opt/image-builder/emulators
"""

RETURN = r"""
platforms:
  description: The wanted platforms that this machine runs.
  returned: always
  type: list
  elements: str
entries:
  description: Entries of the kernel's table that were made or removed.
  returned: always
  type: list
  elements: str
error:
  description: The error for programs, with code, message and hint.
  returned: failure
  type: dict
"""

from pathlib import Path

from ..module_utils.engine.emulation import runnable
from ..module_utils.machine import emulators
from ..module_utils.module_run import AnsibleModule, opened


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "platforms": {"type": "list", "elements": "str", "default": []},
            "root": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    given, root, dry_run = module.params, Path(module.params["root"]), module.check_mode
    with opened(module, "machine"):
        if given["state"] == "absent":
            done = emulators.remove(given["name"], root, dry_run=dry_run)
        else:
            done = emulators.register_missing(given["name"], given["platforms"], root, dry_run=dry_run)
        module.exit_json(changed=done.changed, entries=done.entries, platforms=runnable(given["platforms"]))


if __name__ == "__main__":
    main()
