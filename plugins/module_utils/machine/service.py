# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A private program that is kept running in the background, with systemd or without."""

from __future__ import annotations

import http.client
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from ..errors import MachineError
from . import commands, http_probe, processes, systemd

# dockerd gives its containerd 15 seconds to open its database and ends without it, which happens after a
# crash on a busy disk. systemd starts it again by itself.
_ATTEMPTS = 3
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LOG_LINES = 8
_LOG_BYTES = 64 * 1024


@dataclass(frozen=True)
class Kept:
    """What ``Service.keep`` found and did.

    ``differs`` says whether the program was not running as described. ``other`` says whether another
    program answers in its place, which is then left alone; ``pid`` is this program's, if it runs.
    """

    differs: bool
    other: bool = False
    pid: Optional[int] = None


@dataclass(frozen=True)
class Service:
    """A program, the files it reads and the folders it makes. Its processes are known by ``prefix``.

    ``prefix`` is the folder that its executables, and no other's, lie in, or its one executable.
    ``path`` holds folders with its helpers, before the system's. ``files`` are the texts of files that
    it reads, by path. ``folders`` are its own, which go with it; ``shared_folders`` are made outside its
    own and go if it was the first to need them and they are empty. ``before_start`` prepares the machine
    before each start, ``after_stop`` undoes that when the program goes for good. ``cgroup`` holds its
    containers. ``ready`` answers when it is ready (``http://``, ``https://`` or ``unix:///``). ``patience``
    is how many seconds it gets to become ready, and to end.
    """

    name: str
    prefix: str
    log: Path
    command: Sequence[str] = ()
    path: Sequence[str] = ()
    home: str = "/"
    files: Mapping[Path, str] = field(default_factory=dict)
    folders: Sequence[str] = ()
    shared_folders: Sequence[str] = ()
    before_start: Sequence[str] = ()
    after_stop: Sequence[str] = ()
    cgroup: str = ""
    ready: str = ""
    patience: float = 60

    def keep(self, *, accept_other: bool = False, dry_run: bool = False) -> Kept:
        """Start the program unless it runs as described, and wait until it is ready.

        ``dry_run`` only looks. Raises ``MachineError``: where another program answers at ``ready`` already
        and ``accept_other`` does not say that it is as good, and where the program does not come to answer.
        """
        if self._other_answers():
            if accept_other:
                return Kept(differs=False, other=True)
            raise MachineError(
                "address_taken",
                f"Another program answers at {self.ready}, where {self.name} should.",
                hint=f"End that program, or give {self.name} another address.",
            )
        differs = not self._is_as_described()
        if differs and not dry_run:
            self._start()
        return Kept(differs, pid=self._pid())

    def remove(self, *, dry_run: bool = False) -> bool:
        """End the program and remove its unit, files and folders. Returns whether there was any of it.

        ``dry_run`` only looks. Raises ``MachineError``.
        """
        there = self._is_there()
        if there and not dry_run:
            self._remove()
        return there

    @property
    def _unit(self) -> Path:
        return systemd.UNITS / f"{self.name}.service"

    @property
    def _marker(self) -> Path:
        """The file that remembers which of ``shared_folders`` the first start has yet to make."""
        return self.log.parent / "folders-made.json"

    @property
    def _search_path(self) -> str:
        return ":".join([*self.path, _SYSTEM_PATH])

    def _unit_text(self) -> str:
        return systemd.unit_text(
            self.name,
            self.command,
            before=self.before_start,
            path=self._search_path,
            home=self.home,
            log=self.log,
        )

    def _pid(self) -> Optional[int]:
        command = list(self.command)
        pids = processes.processes(self.prefix)
        return next((pid for pid in pids if processes.command_line(pid) == command), None)

    def _answers(self) -> bool:
        if not self.ready:
            return True
        try:
            # A registry that asks for a password answers 401: it is there.
            return http_probe.status(self.ready) in (200, 401)
        except (OSError, http.client.HTTPException):
            return False

    def _other_answers(self) -> bool:
        return bool(self.ready) and not processes.processes(self.prefix) and self._answers()

    def _is_as_described(self) -> bool:
        wanted = dict(self.files)
        if systemd.runs_machine():
            wanted[self._unit] = self._unit_text()
        if any(not path.exists() or path.read_bytes() != text.encode() for path, text in wanted.items()):
            return False
        return self._pid() is not None and self._answers()

    def _start(self) -> None:
        if not Path(self.command[0]).exists():
            raise MachineError(
                "program_missing",
                f"{self.command[0]}, the program of {self.name}, does not exist.",
                hint="Install or unpack it first.",
            )
        self.end()
        self._write_files()
        if systemd.runs_machine():
            self._unit.write_text(self._unit_text(), encoding="utf-8")
            systemd.systemctl("daemon-reload")
            systemd.systemctl("enable", self._unit.name)
            systemd.systemctl("restart", self._unit.name)
            # systemd starts it again when it ends, so only time can tell that it will not answer.
            processes.wait_until(self._answers, self.patience)
        else:
            for _ in range(_ATTEMPTS):
                if self._start_detached():
                    break
                self.end()
        if self._pid() is None or not self._answers():
            raise MachineError(
                "service_silent",
                f"{self.name} does not answer at {self.ready}."
                if self.ready
                else f"{self.name} ended after its start.",
                hint=f"Its log {self.log} ends with:\n{self._last_words()}",
            )

    def _write_files(self) -> None:
        for path, content in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            # The folder of a script or a configuration is the administrator's alone to write.
            path.write_text(content, encoding="utf-8")
            path.chmod(0o755 if content.startswith("#!") else 0o644)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if not self._marker.exists():
            lacking = [folder for folder in self.shared_folders if not os.path.exists(folder)]
            self._marker.write_text(json.dumps(lacking) + "\n")

    def _start_detached(self) -> bool:
        """Start the program once, and wait for it. Returns whether it is still there then."""
        if self.before_start:
            commands.output(self.before_start)
        environment = {"PATH": self._search_path, "HOME": self.home}
        process = processes.start_detached(self.command, environment, self.log)
        processes.wait_until(lambda: self._answers() or process.poll() is not None, self.patience)
        return process.poll() is None

    def _last_words(self) -> str:
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - _LOG_BYTES))
            return "\n".join(file.read(_LOG_BYTES).decode(errors="replace").splitlines()[-_LOG_LINES:])

    def end(self) -> None:
        """End the program and its containers, and take its mounts away; what it keeps stays."""
        if systemd.runs_machine() and self._unit.exists():
            systemd.systemctl("stop", self._unit.name)
        # The program itself comes first: it ends its children in good order.
        processes.end_processes(lambda: [pid for pid in [self._pid()] if pid], self.patience)
        processes.end_processes(lambda: processes.processes(self.prefix), 3.0)
        if self.cgroup:
            processes.remove_cgroup(self.cgroup)
        processes.unmount_below(self.folders)

    def _is_there(self) -> bool:
        return (
            self._unit.exists()
            or any(os.path.exists(path) for path in [*map(str, self.files), *self.folders])
            or bool(processes.processes(self.prefix))
        )

    def _remove(self) -> None:
        self.end()
        if self._unit.exists():
            if systemd.runs_machine():
                systemd.systemctl("disable", self._unit.name)
            self._unit.unlink()
            if systemd.runs_machine():
                systemd.systemctl("daemon-reload")
        if self.after_stop and Path(self.after_stop[0]).exists():
            commands.output(self.after_stop)
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
