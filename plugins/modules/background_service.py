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
      Otherwise it is an error.
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

from ..module_utils.machine.service import Service
from ..module_utils.module_run import AnsibleModule, opened


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["started", "absent"], "default": "started"},
            "prefix": {"type": "path", "required": True},
            "command": {"type": "list", "elements": "str"},
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
        kept = service.keep(accept_other=given["accept_other"], dry_run=module.check_mode)
        pid = {} if kept.pid is None else {"pid": kept.pid}
        module.exit_json(changed=kept.differs, differs=kept.differs, other=kept.other, **pid)


if __name__ == "__main__":
    main()
