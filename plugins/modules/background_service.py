#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Keep a program running, with systemd or without."""

from __future__ import annotations

DOCUMENTATION = r"""
module: background_service
short_description: Keeps a private program running, with systemd or without
version_added: 1.0.0
author: SODALITE image-builder authors (@sodalite-eu)
description:
  - Starts a program in the background, waits until it answers, and starts it again when its files or its
    command changed.
  - Where systemd runs the machine the program becomes a unit that starts on boot. Elsewhere it is started
    detached; run the module again after a reboot.
  - The program's processes are known by the folder that their executables lie in, O(prefix).
    Whatever a killed predecessor left behind is cleared away before a start.
options:
  name:
    description: Name of the service, its systemd unit and its log file.
    type: str
    required: true
  state:
    description: V(absent) ends the program and removes its unit, O(files) and O(folders).
    type: str
    choices: [started, absent]
    default: started
  prefix:
    description: The folder that the executables of this program, and of no other, lie in.
    type: path
    required: true
  command:
    description: The program and its arguments. The program's path is absolute.
    type: list
    elements: str
  debian:
    description:
      - Where the program comes from, if it is not there already.
      - Of several releases of Debian it is the first whose packages can be fetched and unpacked, and that
        starts. Why others are passed over is a warning. One that does not start is not tried again;
        C(release.json) in the folder remembers it. A program of another release than the preferred one is
        ended, and comes back where that one does not start.
    type: dict
    suboptions:
      packages:
        description: Names of packages to unpack, not to install. What they depend on is not fetched.
        type: list
        elements: str
        required: true
      suites:
        description:
          - Releases of Debian, the preferred first.
          - Apt verifies their packages as always, but a release file that is past its date will do.
        type: list
        elements: str
        required: true
      dest:
        description: The folder that takes the packages' folder C(usr).
        type: path
        required: true
      tries:
        description: Commands that show whether a release's programs run on this machine, tried before another
          release's are given up. The path of the program is relative to O(debian.dest).
        type: list
        elements: list
        default: []
  path:
    description: Folders to look for helper programs in, before the system's.
    type: list
    elements: path
    default: []
  home:
    description: The home folder that the program sees.
    type: path
    default: /
  files:
    description: Files the program reads, by path; a changed one makes it start again.
    type: dict
    default: {}
  folders:
    description: Folders of the program's own that O(state=absent) removes with all they hold.
    type: list
    elements: path
    default: []
  shared_folders:
    description: Folders the program makes outside its own; removed when empty, if they were not there
      before its first start.
    type: list
    elements: path
    default: []
  before_start:
    description: A command that prepares the machine for the program, run before each start.
    type: list
    elements: str
  after_stop:
    description: A command that undoes O(before_start), run when the program has been ended for good.
    type: list
    elements: str
  cgroup:
    description: Name of the control group that holds the program's containers.
    type: str
  ready:
    description: Address that answers when the program is ready, V(http://…), V(https://…) or V(unix:///…).
    type: str
  accept_other:
    description: Whether another program that answers at O(ready) already is as good, and left alone.
      Otherwise, and always with O(debian), it is an error.
    type: bool
    default: false
  patience:
    description: Seconds to wait for the program to become ready, and for it to end.
    type: int
    default: 60
  log:
    description: File that takes the program's output.
    type: path
    required: true
attributes:
  check_mode:
    description: Says whether the program would be started or removed.
    support: full
  platform:
    description: Linux.
    support: full
    platforms: linux
"""

EXAMPLES = r"""
- name: Keep a registry running
  sodalite.image_builder.background_service:
    name: local-registry
    prefix: /opt/local-registry
    command: [/opt/local-registry/usr/bin/docker-registry, serve, /opt/local-registry/config.yml]
    files:
      /opt/local-registry/config.yml: |
        version: 0.1
    ready: http://127.0.0.1:5000/v2/
    log: /var/log/local-registry/log

- name: Keep a registry running that is fetched from Debian
  sodalite.image_builder.background_service:
    name: local-registry
    prefix: /opt/local-registry/usr
    command: [/opt/local-registry/usr/bin/docker-registry, serve, /opt/local-registry/config.yml]
    debian:
      packages: [docker-registry]
      suites: [testing, trixie]
      dest: /opt/local-registry
      tries: [[usr/bin/docker-registry, --version]]
    log: /var/log/local-registry/log
"""

RETURN = r"""
pid:
  description: Process number of the program.
  returned: when it runs
  type: int
differs:
  description: Whether the program was not running as described; in check mode, still is not.
  returned: when O(state=started)
  type: bool
suite:
  description: The release of Debian that the program is of, if it is known.
  returned: when O(debian) is given
  type: str
other:
  description: Whether another program answers in its place.
  returned: when O(state=started)
  type: bool
error:
  description: The error for programs, with code, message and hint.
  returned: failure
  type: dict
"""

from pathlib import Path

from ..module_utils.machine.debian_service import DebianService
from ..module_utils.machine.service import Service
from ..module_utils.module_run import AnsibleModule, opened


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "absent"], "default": "started"},
            "prefix": {"type": "path", "required": True},
            "command": {"type": "list", "elements": "str"},
            "debian": {
                "type": "dict",
                "options": {
                    "packages": {"type": "list", "elements": "str", "required": True},
                    "suites": {"type": "list", "elements": "str", "required": True},
                    "dest": {"type": "path", "required": True},
                    "tries": {"type": "list", "elements": "list", "default": []},
                },
            },
            "path": {"type": "list", "elements": "path", "default": []},
            "home": {"type": "path", "default": "/"},
            "files": {"type": "dict", "default": {}},
            "folders": {"type": "list", "elements": "path", "default": []},
            "shared_folders": {"type": "list", "elements": "path", "default": []},
            "before_start": {"type": "list", "elements": "str"},
            "after_stop": {"type": "list", "elements": "str"},
            "cgroup": {"type": "str"},
            "ready": {"type": "str"},
            "accept_other": {"type": "bool", "default": False},
            "patience": {"type": "int", "default": 60},
            "log": {"type": "path", "required": True},
        },
        required_if=[("state", "started", ("command",))],
        supports_check_mode=True,
    )
    given = module.params
    service = Service(
        name=given["name"],
        prefix=given["prefix"],
        log=Path(given["log"]),
        command=given["command"] or (),
        path=given["path"],
        home=given["home"],
        files={Path(path): content for path, content in given["files"].items()},
        folders=given["folders"],
        shared_folders=given["shared_folders"],
        before_start=given["before_start"] or (),
        after_stop=given["after_stop"] or (),
        cgroup=given["cgroup"] or "",
        ready=given["ready"] or "",
        patience=given["patience"],
    )
    with opened(module, "machine"):
        if given["state"] == "absent":
            module.exit_json(changed=service.remove(dry_run=module.check_mode))
        more: dict[str, object] = {}
        if given["debian"]:
            debian = {**given["debian"], "dest": Path(given["debian"]["dest"])}
            done = DebianService(service, **debian).keep(dry_run=module.check_mode)
            kept, more["suite"] = done.kept, done.suite
            for warning in done.warnings:
                module.warn(warning)
        else:
            kept = service.keep(accept_other=given["accept_other"], dry_run=module.check_mode)
        if kept.pid is not None:
            more["pid"] = kept.pid
        module.exit_json(changed=kept.differs, differs=kept.differs, other=kept.other, **more)


if __name__ == "__main__":
    main()
