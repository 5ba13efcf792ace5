#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Have the kernel run other platforms' programs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: emulators
short_description: Have the kernel run other platforms' programs
version_added: 1.0.0
author: SODALITE image-builder developers (@SODALITE-EU)
description:
  - Registers QEMU's user emulators with the kernel (binfmt_misc, with the F flag) for those platforms that
    the machine
    cannot run yet. Entries that are there already are used and never changed.
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
"""

import shutil
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.engine import emulation
from ..module_utils.machine import debian_archive
from ..module_utils.machine import emulators as registering

# Debian 13 moved what qemu-user-static holds to the other two.
_PACKAGES = (["qemu-user-static"], ["qemu-user", "qemu-user-binfmt"])


def _unpack(root: Path) -> dict[str, str]:
    """The registration lines of the emulators at ``root``, fetched when they are not there."""
    lines = registering.registrations(root)
    if lines:
        return lines
    architecture = debian_archive.machine_architecture()
    with debian_archive.Archive(architecture) as archive:
        for packages in _PACKAGES:
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(parents=True)
            for deb in archive.download(packages):
                debian_archive.unpack(deb, root)
            lines = registering.registrations(root)
            if lines:
                return lines
    raise registering.EmulationError("the distribution's qemu packages name no emulators to register")


def _register(name: str, missing: list[str], root: Path) -> list[str]:
    lines = _unpack(root)
    if registering.mount():
        (root / "mounted").touch()
    entries: list[str] = []
    # The platforms of one architecture share one emulator.
    for platform in {emulation.architecture(platform): platform for platform in missing}.values():
        if not emulation.runnable([platform]):
            entry = registering.register(platform, lines, root, name)
            entries += [entry] if entry else []
    return entries


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
    name, root, wanted = module.params["name"], Path(module.params["root"]), module.params["platforms"]
    try:
        if module.params["state"] == "absent":
            entries = [] if module.check_mode else registering.unregister(name)
            changed = bool(entries) or root.exists()
            if changed and not module.check_mode:
                if (root / "mounted").exists():
                    registering.unmount()
                shutil.rmtree(root, ignore_errors=True)
            module.exit_json(changed=changed, entries=entries, platforms=emulation.runnable(wanted))
        there = emulation.runnable(wanted)
        missing = [platform for platform in wanted if platform not in there]
        entries = _register(name, missing, root) if missing and not module.check_mode else []
        module.exit_json(changed=bool(missing), entries=entries, platforms=emulation.runnable(wanted))
    except (
        registering.EmulationError,
        debian_archive.ArchiveError,
        OSError,
        subprocess.SubprocessError,
    ) as error:
        module.fail_json(msg=f"emulators: {error}")


if __name__ == "__main__":
    main()
