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
  source:
    description:
      - Where the source comes from.
      - Exactly one of C(git_repo), C(dockerfile) and C(tar) is required.
    type: dict
    suboptions:
      git_repo:
        description: A git repository.
        type: dict
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
              - >-
                Password or token to log in with over HTTP, as text or as V({env: NAME}) or V({file: PATH}),
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
      dockerfile:
        description: >-
          A Dockerfile by itself. The build behaves as if it lay in the root of the build context, but it is
          not among the files that C(COPY) sees.
        type: dict
        suboptions:
          url:
            description: Address of the Dockerfile, by C(https), C(http) or C(file).
            type: str
            required: true
          username:
            description: Name to log in with over HTTP.
            type: str
          password:
            description: Password or token to log in with over HTTP, in the forms of a repository's.
            type: raw
          checksum:
            description: Digest that the Dockerfile must have, V(sha256:) and 64 hexadecimal digits.
            type: str
      build_context:
        description: >-
          Build context for C(dockerfile), a git repository by its C(url) or a local folder by its C(path).
          Without it nothing but the Dockerfile reaches the build.
        type: dict
        suboptions:
          url:
            description: URL of the repository, as for C(git_repo).
            type: str
          version:
            description: A branch, a tag, V(HEAD), or a full or abbreviated commit. The default is V(HEAD).
            type: str
          username:
            description: Name to log in with over HTTP.
            type: str
          password:
            description: Password or token to log in with over HTTP, in the forms of a repository's.
            type: raw
          ssh_key_file:
            description: Path of the private key to log in with over SSH.
            type: path
          ssh_known_hosts_file:
            description: Path of the file with the SSH server's key, instead of the user's own.
            type: path
          subdir:
            description: Folder inside the repository that becomes the build context.
            type: str
          path:
            description: Absolute path of a folder on the host, used as it is, without copying.
            type: path
      tar:
        description: >-
          A tar archive, plain or compressed by gzip, bzip2, xz or zstd. With a Dockerfile it is a build
          context; without one it may be an image that C(docker save) or an OCI tool wrote.
        type: dict
        suboptions:
          url:
            description: Address of the archive, by C(https), C(http) or C(file).
            type: str
          path:
            description: Absolute path of the archive on the host.
            type: path
          username:
            description: Name to log in with over HTTP.
            type: str
          password:
            description: Password or token to log in with over HTTP, in the forms of a repository's.
            type: raw
          checksum:
            description: Digest that the archive must have, V(sha256:) and 64 hexadecimal digits.
            type: str
          dockerfile:
            description: Path of the Dockerfile inside the archive.
            type: str
            default: Dockerfile
          workdir:
            description: Folder inside the archive that becomes the build context.
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
  description: Path of the build context.
  returned: state is present
  type: str
dockerfile:
  description: Path of the Dockerfile, empty for an archive that holds an image.
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
image:
  description: Whether the source is an image that needs no build.
  returned: state is present
  type: bool
error:
  description: The error for programs, with code, phase, message, hint and whether trying again can help.
  returned: failure
  type: dict
"""

from ansible_collections.sodalite.image_builder.plugins.module_utils import door
from ansible_collections.sodalite.image_builder.plugins.module_utils.fetch import fetch_source, remove_source

LOGIN = {"username": {"type": "str"}, "password": {"type": "raw", "no_log": True}}
SSH = {
    "ssh_key_file": {"type": "path", "no_log": False},
    "ssh_known_hosts_file": {"type": "path"},
}
PLACES = {
    "dockerfile": {"type": "str", "default": "Dockerfile"},
    "workdir": {"type": "str", "default": "."},
}
SOURCE = {
    "git_repo": {
        "type": "dict",
        "options": {
            "url": {"type": "str", "required": True},
            "version": {"type": "str", "default": "HEAD"},
            **LOGIN,
            **SSH,
            **PLACES,
        },
    },
    "dockerfile": {
        "type": "dict",
        "options": {"url": {"type": "str", "required": True}, **LOGIN, "checksum": {"type": "str"}},
    },
    "build_context": {
        "type": "dict",
        "options": {
            "url": {"type": "str"},
            "version": {"type": "str"},
            **LOGIN,
            **SSH,
            "subdir": {"type": "str"},
            "path": {"type": "path"},
        },
    },
    "tar": {
        "type": "dict",
        "options": {
            "url": {"type": "str"},
            "path": {"type": "path"},
            **LOGIN,
            "checksum": {"type": "str"},
            **PLACES,
        },
    },
}


def main() -> None:
    module = door.AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "source": {"type": "dict", "options": SOURCE},
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
