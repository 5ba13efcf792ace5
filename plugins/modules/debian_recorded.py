#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Install Debian packages and remember which, so that exactly those can go again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: debian_recorded
short_description: Installs Debian packages and records which were new
version_added: 1.0.0
author: SODALITE image-builder authors (@sodalite-eu)
description:
  - Installs packages with apt and writes those that were not on the machine before, dependencies included,
    to a record.
  - With O(state=absent), purges what the record names and nothing else.
options:
  packages:
    description: Names of the packages.
    type: list
    elements: str
    default: []
  unless_python_has:
    description:
      - A package of Python, such as V(docker), for which O(packages) are.
      - They are not installed where the Python that runs the module has it, or is not the distribution's.
    type: str
  record:
    description: The JSON file that remembers the packages.
    type: path
    required: true
  state:
    description: Whether the packages should be on the machine.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says what would be installed or purged.
    support: full
  platform:
    description: Debian and its derivatives.
    support: full
    platforms: debian
"""

EXAMPLES = r"""
- name: Install what Docker Engine needs from the distribution
  sodalite.image_builder.debian_recorded:
    packages: [runc, iptables]
    record: /opt/image-builder/installed.json

- name: Install what asking Docker Engine takes, where this host's Python lacks it
  sodalite.image_builder.debian_recorded:
    packages: [python3-docker]
    unless_python_has: docker
    record: /opt/image-builder/installed.json

- name: Remove what was installed for Docker Engine
  sodalite.image_builder.debian_recorded:
    record: /opt/image-builder/installed.json
    state: absent
"""

RETURN = r"""
recorded:
  description: Packages that the record names.
  returned: always
  type: list
  elements: str
error:
  description: The error for programs, with code, message and hint.
  returned: failure
  type: dict
"""

from pathlib import Path

from ..module_utils.machine import packages
from ..module_utils.module_run import AnsibleModule, opened


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "unless_python_has": {"type": "str"},
            "record": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    given, record, dry_run = module.params, Path(module.params["record"]), module.check_mode
    with opened(module, "machine"):
        if given["state"] == "absent":
            done = packages.purge(record, dry_run=dry_run)
        else:
            wanted = given["unless_python_has"]
            names = given["packages"] if wanted is None or packages.python_lacks(wanted) else []
            done = packages.install(names, record, dry_run=dry_run)
        module.exit_json(changed=done.changed, recorded=done.packages)


if __name__ == "__main__":
    main()
