#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).

from __future__ import annotations

DOCUMENTATION = r"""
module: source
short_description: Fetches the source of images into a private workspace
version_added: 0.1.0
author: SODALITE image-builder authors (@sodalite-eu)
description:
  - Fetches a git repository, as little of it as the build needs, into a new workspace that only the
    current user can enter, or removes such a workspace.
  - A workspace is scratch space, so making one does not count as a change, and check mode makes one too.
  - Credentials reach git through its credential interface only and are never stored.
requirements:
  - git on the host where the module runs
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
  source:
    description: Where the source comes from.
    type: dict
    suboptions:
      git_repo:
        description: A git repository.
        type: dict
        required: true
        suboptions:
          url:
            description: URL of the repository, by C(https), C(http), C(ssh), C(git) or C(file).
            type: str
            required: true
          version:
            description: A branch, a tag, V(HEAD), or a full or abbreviated commit. A branch wins over a tag.
            type: str
            default: HEAD
          username:
            description: Name to log in with over HTTP.
            type: str
          password:
            description:
              - Password or token to log in with over HTTP, as text or as V({env: NAME}) or V({file: PATH}),
                read on the host where the module runs.
            type: raw
          ssh_key_file:
            description: Path of the private key to log in with over SSH.
            type: path
          ssh_known_hosts_file:
            description: Path of the file with the SSH server's key, instead of the user's own.
            type: path
          dockerfile:
            description: Path of the Dockerfile inside the repository.
            type: str
            default: Dockerfile
          workdir:
            description: Folder inside the repository that becomes the build context.
            type: str
            default: .
  custom_workdir:
    description: Folder for the workspace. The default is the host's folder for temporary files.
    type: path
  workspace:
    description: Path of the workspace to remove.
    type: path
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
  description: Path of the build context.
  returned: state is present
  type: str
dockerfile:
  description: Path of the Dockerfile.
  returned: state is present
  type: str
revision:
  description: The full commit that was fetched.
  returned: state is present
  type: str
committed_at:
  description: Time of the commit in seconds since 1970.
  returned: state is present
  type: int
error:
  description: The error for programs, with code, phase, message, hint and whether trying again can help.
  returned: failure
  type: dict
"""

from ansible_collections.sodalite.image_builder.plugins.module_utils import door
from ansible_collections.sodalite.image_builder.plugins.module_utils.fetch import fetch_source, remove_source

GIT_REPO = {
    "url": {"type": "str", "required": True},
    "version": {"type": "str", "default": "HEAD"},
    "username": {"type": "str"},
    "password": {"type": "raw", "no_log": True},
    "ssh_key_file": {"type": "path", "no_log": False},
    "ssh_known_hosts_file": {"type": "path"},
    "dockerfile": {"type": "str", "default": "Dockerfile"},
    "workdir": {"type": "str", "default": "."},
}


def main() -> None:
    module = door.AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "source": {
                "type": "dict",
                "options": {"git_repo": {"type": "dict", "required": True, "options": GIT_REPO}},
            },
            "custom_workdir": {"type": "path"},
            "workspace": {"type": "path"},
        },
        required_if=[("state", "present", ["source"]), ("state", "absent", ["workspace"])],
        supports_check_mode=True,
    )
    given = module.params
    with door.opened(module) as report:
        if given["state"] == "absent":
            module.exit_json(changed=remove_source(given["workspace"]))
        fetched = fetch_source(given["source"], given["custom_workdir"], report)
        for warning in fetched.tree.warnings:
            module.warn(warning)
        module.exit_json(changed=False, **fetched.to_dict())


if __name__ == "__main__":
    main()
