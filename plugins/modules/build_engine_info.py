#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Find out what this machine builds images with."""

from __future__ import annotations

DOCUMENTATION = r"""
module: build_engine_info
short_description: Finds out what a machine can build images with
version_added: 1.0.0
author: SODALITE image-builder authors (@sodalite-eu)
description:
  - Finds the Docker Engine and the buildx to build with, tells whether they suffice for images of several
    platforms, and otherwise where they are to come from.
extends_documentation_fragment:
  - sodalite.image_builder.docker_package
options:
  name:
    description: Name of the private engine, and of a builder on the machine's own.
    type: str
    required: true
  mode:
    description:
      - V(host) takes the machine's own engine and fails when it does not suffice, V(private) takes the
        private one.
      - V(auto) takes the machine's own where it suffices; otherwise the distribution's where that is new
        enough, or else the private one.
    type: str
    choices: [auto, host, private]
    default: auto
  platforms:
    description: Platforms that are to be built.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Changes nothing.
    support: full
  platform:
    description: Linux.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: See what there is to build with
  sodalite.image_builder.build_engine_info:
    name: image-builder
    platforms: [linux/amd64, linux/arm64]
  register: engine
"""

RETURN = r"""
origin:
  description: Whose the engine is; C(host) the machine's own, C(distribution) installed with apt for this,
    C(private) unpacked for this.
  returned: always
  type: str
reason:
  description: Why it is that one.
  returned: always
  type: str
running:
  description: Whether it answers.
  returned: always
  type: bool
docker_host:
  description: Address of its daemon.
  returned: always
  type: str
docker_cli:
  description: Its client, or nothing where the machine has none; only people need it.
  returned: always
  type: str
buildx:
  description: Its buildx.
  returned: always
  type: str
version:
  description: Version of the engine.
  returned: always
  type: str
buildx_version:
  description: Version of buildx.
  returned: always
  type: str
containerd_store:
  description: Whether images are kept in containerd, without which a builder of its own is needed for
    several platforms.
  returned: always
  type: bool
builder_exists:
  description: Whether that builder is there.
  returned: always
  type: bool
network:
  description: Network of the private engine, or one that is free for it.
  returned: always
  type: str
platforms:
  description: The wanted platforms that programs can be run for.
  returned: always
  type: list
  elements: str
error:
  description: The error for programs, with code, message and hint.
  returned: failure
  type: dict
"""

from pathlib import Path

from ..module_utils.machine import engine_choice, free_network
from ..module_utils.module_run import AnsibleModule, opened


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "mode": {"type": "str", "choices": ["auto", "host", "private"], "default": "auto"},
            "platforms": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    given = module.params
    with opened(module, "machine"):
        found = engine_choice.result(given["name"], given["mode"], given["platforms"])
        network = free_network.network_for(Path(f"/opt/{given['name']}/etc/daemon.json"))
        module.exit_json(changed=False, network=network, **found)


if __name__ == "__main__":
    main()
