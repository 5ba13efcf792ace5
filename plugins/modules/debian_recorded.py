#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Install Debian packages and remember which, so that exactly those can go again."""

from __future__ import annotations

DOCUMENTATION = r"""
module: debian_recorded
short_description: Install Debian packages and record which were new
version_added: 1.0.0
author: SODALITE image-builder developers (@SODALITE-EU)
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
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

_APT = [
    "apt-get",
    "-qq",
    *("-o", "Dpkg::Options::=--force-confold"),
    *("-o", "DPkg::Lock::Timeout=120"),
    *("-o", "APT::Keep-Downloaded-Packages=false"),
]


def _states() -> dict[str, str]:
    """The state of each package that is there at all, ``i`` when it is installed. Source: dpkg-query(1)."""
    listing = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${binary:Package} ${db:Status-Abbrev}\n"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    states = {line.split()[0]: line.split()[1][1] for line in listing.splitlines() if line.split()[1:]}
    return {name: state for name, state in states.items() if state not in "nc"}


def _apt(module: AnsibleModule, *arguments: str) -> None:
    # Who runs this module may remove its folder for temporary files when interrupted, before dpkg ends.
    env = {key: value for key, value in os.environ.items() if key != "TMPDIR"}
    done = subprocess.run(
        [*_APT, *arguments],
        env={**env, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # dpkg leaves packages half installed where a signal to this module's process group reaches it.
        start_new_session=True,
    )
    if done.returncode != 0:
        module.fail_json(msg=f"apt-get {' '.join(arguments)} failed: {done.stdout.strip()}")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let the block come to its end, whatever signal asks to stop: packages and record belong together."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    # A function, because what is ignored here would be ignored by apt-get and by services it starts.
    kept = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "default": []},
            "record": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    record = Path(module.params["record"])
    recorded = set(json.loads(record.read_text())) if record.exists() else set()
    before = _states()
    installed = {name.split(":", 1)[0] for name, state in before.items() if state == "i"}
    if module.params["state"] == "present":
        wanted = [name for name in module.params["packages"] if name not in installed]
        if wanted and not module.check_mode:
            _apt(module, "update")
            with _undisturbed():
                try:
                    _apt(module, "install", "--yes", "--no-install-recommends", "--", *wanted)
                finally:
                    # Also what a failed installation brought.
                    recorded |= _states().keys() - before.keys()
                    record.parent.mkdir(parents=True, exist_ok=True)
                    record.write_text(json.dumps(sorted(recorded)) + "\n")
        module.exit_json(changed=bool(wanted), recorded=sorted(recorded))
    there = sorted(recorded & before.keys())
    if not module.check_mode:
        with _undisturbed():
            if there:
                _apt(module, "purge", "--yes", "--", *there)
            record.unlink(missing_ok=True)
    module.exit_json(changed=bool(there), recorded=[])


if __name__ == "__main__":
    main()
