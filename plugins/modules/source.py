#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).

from __future__ import annotations

DOCUMENTATION = r"""
module: source
short_description: Fetches the source of images into a private workspace
version_added: 1.0.0
author: SODALITE image-builder authors (@sodalite-eu)
description:
  - Fetches a git repository (as little of it as the build needs), a Dockerfile, or a tar archive into a new
    workspace that only the current user can enter, or removes such a workspace.
  - A workspace is scratch space, so making one does not count as a change, and check mode makes one too.
  - Credentials reach git through its credential interface only and are never stored.
requirements:
  - git on the host where the module runs, for repositories
  - zstd on the host where the module runs, for archives compressed with it
attributes:
  check_mode:
    description: Can run in check mode, and does the same there.
    support: full
  diff_mode:
    description: Has no difference to show.
    support: none
options:
  state:
    description: V(present) fetches O(source) into a new workspace; V(absent) removes O(workspace).
    type: str
    choices: [present, absent]
    default: present
  custom_workdir:
    description: Absolute path of a folder for the workspace, by default the host's for temporary files.
    type: path
  workspace:
    description: Path of the workspace to remove.
    type: path
  lazy:
    description:
      - Fetches nothing where the commit is one of which the user's cache folder holds all that a plan needs.
      - O(ignore:context) and O(ignore:dockerfile) are empty then, and M(sodalite.image_builder.images), which
        is given the source too, fetches it if something must be built.
    type: bool
    default: false
  timeout:
    description: Time limit for fetching, in seconds. What it takes counts against that of the build.
    type: float
    default: 21600.0
extends_documentation_fragment:
  - sodalite.image_builder.docker_package
  - sodalite.image_builder.source
"""

EXAMPLES = r"""
- name: Fetch the release branch
  sodalite.image_builder.source:
    source:
      git_repo:
        url: https://git.example.com/team/app.git
        version: release
        username: builder
        password:
          env: GIT_TOKEN
  register: fetched

- name: Fetch a Dockerfile, with a folder of the host as its build context
  sodalite.image_builder.source:
    source:
      dockerfile:
        url: https://files.example.com/app/Dockerfile
      build_context:
        path: /srv/app
  register: fetched

- name: Remove what was fetched
  sodalite.image_builder.source:
    state: absent
    workspace: "{{ fetched.workspace }}"
"""

RETURN = r"""
workspace:
  description: Path of the workspace.
  returned: state is present
  type: str
  sample: /tmp/image-builder-x2b7q0
context:
  description: Path of the build context, empty where O(lazy) left it out.
  returned: state is present
  type: str
dockerfile:
  description: Path of the Dockerfile, empty for an archive that holds an image or where O(lazy) left it out.
  returned: state is present
  type: str
revision:
  description: The full commit that was fetched, or the digest of a Dockerfile or archive.
  returned: state is present
  type: str
committed_at:
  description: Time of the commit, or of an archive's newest member, in seconds since 1970; else 0.
  returned: state is present
  type: int
url:
  description: Address that it came from.
  returned: state is present
  type: str
image:
  description: Whether the source is an image that needs no build.
  returned: state is present
  type: bool
error:
  description: The error for programs, with code, phase, message, hint and whether trying again can help.
  returned: failure
  type: dict
"""

from ansible_collections.sodalite.image_builder.plugins.module_utils import module_run
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_source
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.argument_spec import SOURCE
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.options import DEFAULT_TIMEOUT
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.text import printable_lines


def main() -> None:
    module = module_run.AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "source": {"type": "dict", "options": SOURCE},
            "custom_workdir": {"type": "path"},
            "workspace": {"type": "path"},
            "lazy": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": DEFAULT_TIMEOUT},
        },
        required_if=[("state", "present", ["source"]), ("state", "absent", ["workspace"])],
        supports_check_mode=True,
    )
    given = module.params
    with module_run.opened(module) as listener:
        if given["state"] == "absent":
            module.exit_json(changed=remove_source(given["workspace"]))
        source, workdir = accept_source(given["source"], given["custom_workdir"])
        fetched = fetch_source(source, workdir, listener, lazy=given["lazy"], timeout=given["timeout"])
        for warning in fetched.tree.warnings:
            module.warn(printable_lines(warning))
        module.exit_json(changed=False, **fetched.to_dict())


if __name__ == "__main__":
    main()
