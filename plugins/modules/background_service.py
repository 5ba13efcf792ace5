#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Keep a program running, with systemd or without."""

from __future__ import annotations

DOCUMENTATION = r"""
module: background_service
short_description: Keep a private program running, with systemd or without
version_added: 1.0.0
author: SODALITE image-builder developers (@SODALITE-EU)
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
"""

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.machine import http_probe, processes

_UNIT = """\
[Unit]
Description={name} (private program of the image builder)
Wants=network-online.target
After=network-online.target

[Service]
{before}ExecStart={command}
Environment=PATH={path} HOME={home}
Restart=on-failure
Delegate=yes
KillMode=mixed
LimitNOFILE=1048576
StandardOutput=append:{log}
StandardError=append:{log}

[Install]
WantedBy=multi-user.target
"""
# dockerd gives its containerd 15 seconds to open its database and ends without it, which happens after a
# crash on a busy disk. systemd starts it again by itself.
_ATTEMPTS = 3
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Service:
    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.name: str = parameters["name"]
        self.prefix: str = parameters["prefix"]
        self.command: list[str] = parameters["command"] or []
        self.files = {Path(path): content for path, content in parameters["files"].items()}
        self.folders: list[str] = parameters["folders"]
        self.shared = [Path(folder) for folder in parameters["shared_folders"]]
        self.before: list[str] | None = parameters["before_start"]
        self.after: list[str] | None = parameters["after_stop"]
        self.cgroup: str | None = parameters["cgroup"]
        self.ready: str | None = parameters["ready"]
        self.patience: int = parameters["patience"]
        self.log = Path(parameters["log"])
        self.path = ":".join([*parameters["path"], _SYSTEM_PATH])
        self.home: str = parameters["home"]
        self.unit = Path(f"/etc/systemd/system/{self.name}.service")
        self.systemd = Path("/run/systemd/system").is_dir()
        self._marker = self.log.parent / "folders-made.json"

    def pid(self) -> int | None:
        for pid in processes.processes(self.prefix):
            if processes.command_line(pid) == self.command:
                return pid
        return None

    def answers(self) -> bool:
        if self.ready is None:
            return True
        try:
            # A registry that asks for a password answers 401: it is there.
            return http_probe.status(self.ready)[0] in (200, 401)
        except (OSError, http.client.HTTPException):
            return False

    def is_other(self) -> bool:
        """Whether a program that is not this one answers in its place."""
        return self.ready is not None and not processes.processes(self.prefix) and self.answers()

    def is_as_wanted(self) -> bool:
        if any(not path.exists() or path.read_text() != content for path, content in self.files.items()):
            return False
        if self.systemd and (not self.unit.exists() or self.unit.read_text() != self._unit()):
            return False
        return self.pid() is not None and self.answers()

    def start(self) -> int:
        if not Path(self.command[0]).exists():
            raise RuntimeError(f"{self.command[0]} does not exist")
        self.end()
        for path, content in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            # The folder of a script or a configuration is the administrator's alone to write.
            path.write_text(content)
            path.chmod(0o755 if content.startswith("#!") else 0o644)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if not self._marker.exists():
            self._marker.write_text(json.dumps([str(f) for f in self.shared if not f.exists()]) + "\n")
        if self.systemd:
            self.unit.write_text(self._unit())
            self._systemctl("daemon-reload")
            self._systemctl("enable", self.unit.name)
            self._systemctl("restart", self.unit.name)
            # systemd starts it again when it ends, so only time can tell that it will not answer.
            processes.wait_until(self.answers, self.patience)
        else:
            for _ in range(_ATTEMPTS):
                if self._start_detached():
                    break
                self.end()
        pid = self.pid()
        if pid is None or not self.answers():
            tail = (
                "\n".join(self.log.read_text(errors="replace").splitlines()[-8:]) if self.log.exists() else ""
            )
            raise RuntimeError(f"it does not answer at {self.ready}; the end of its log {self.log}:\n{tail}")
        return pid

    def _start_detached(self) -> bool:
        """Start the program once, and wait for it. Returns whether it is still there then."""
        self._run(self.before)
        process = processes.start_detached(self.command, {"PATH": self.path, "HOME": self.home}, self.log)
        processes.wait_until(lambda: self.answers() or process.poll() is not None, self.patience)
        return process.poll() is None

    def end(self) -> None:
        if self.systemd and self.unit.exists():
            self._systemctl("stop", self.unit.name)
        # The program itself comes first: it ends its children in good order.
        processes.end_processes(lambda: [pid for pid in [self.pid()] if pid], self.patience)
        processes.end_processes(lambda: processes.processes(self.prefix), 3.0)
        if self.cgroup:
            processes.remove_cgroup(self.cgroup)
        processes.unmount_below(self.folders)

    def is_there(self) -> bool:
        return (
            self.unit.exists()
            or any(os.path.exists(path) for path in [*map(str, self.files), *self.folders])
            or bool(processes.processes(self.prefix))
        )

    def remove(self) -> None:
        self.end()
        if self.unit.exists():
            if self.systemd:
                self._systemctl("disable", self.unit.name)
            self.unit.unlink()
            if self.systemd:
                self._systemctl("daemon-reload")
        if self.after and Path(self.after[0]).exists():
            self._run(self.after)
        made = json.loads(self._marker.read_text()) if self._marker.exists() else []
        for folder in sorted(made, reverse=True):
            try:
                os.rmdir(folder)
            except OSError:
                continue
        for path in [*self.files, self._marker]:
            path.unlink(missing_ok=True)
        for folder in self.folders:
            if os.path.exists(folder):
                shutil.rmtree(folder)

    def _unit(self) -> str:
        before = f"ExecStartPre={self._quoted(self.before)}\n" if self.before else ""
        return _UNIT.format(
            name=self.name,
            before=before,
            command=self._quoted(self.command),
            path=self.path,
            home=self.home,
            log=self.log,
        )

    @staticmethod
    def _quoted(command: list[str]) -> str:
        """As systemd reads it: quoted, with its own ``%`` and ``$`` taken as text."""
        return " ".join(json.dumps(part).replace("%", "%%").replace("$", "$$") for part in command)

    def _systemctl(self, *arguments: str) -> None:
        self._run(["systemctl", *arguments])

    @staticmethod
    def _run(command: list[str] | None) -> None:
        if not command:
            return
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stdout.strip()}")


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
    service = Service(module.params)
    try:
        if module.params["state"] == "absent":
            changed = service.is_there()
            if changed and not module.check_mode:
                service.remove()
            module.exit_json(changed=changed)
        if service.is_other():
            if module.params["accept_other"]:
                module.exit_json(changed=False, differs=False, other=True)
            module.fail_json(
                msg=f"service {service.name}: another program answers at {service.ready} already"
            )
        changed = not service.is_as_wanted()
        if changed and not module.check_mode:
            service.start()
        module.exit_json(changed=changed, differs=changed, pid=service.pid(), other=False)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        module.fail_json(msg=f"service {service.name}: {error}")


if __name__ == "__main__":
    main()
