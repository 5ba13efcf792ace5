# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Docker Engines of a test's own, to be killed, or to be of another version than the site's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ansible_collections.sodalite.image_builder.plugins.module_utils.engine.buildx import version_numbers
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine import debian_archive, processes
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.free_network import network_for

from tests.support import leaks
from tests.support.engine import PREFIX, Engine

_PACKAGES = ("docker.io", "docker-cli", "docker-buildx", "containerd")
PLUGIN = "usr/libexec/docker/cli-plugins/docker-buildx"
# As the module background_service has it: on a busy disk containerd can be too slow for dockerd.
_ATTEMPTS = 3
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class OwnEngine:
    """A dockerd with its containerd, in folders, a bridge and a control group of its own.

    ``engine`` is what tests build with; it stands while the engine is killed and started again.
    """

    def __init__(
        self, data: Path, programs: Path, buildx: Path, registry: str, tcp: Mapping[str, object]
    ) -> None:
        # In a network interface's 15 characters; a socket's path has 107, too few for pytest's folders.
        self._name = f"ibt-{uuid.uuid4().hex[:8]}"
        self._data = data
        self._run = Path("/run", self._name)
        self._programs = programs
        self._tcp = tcp
        self._log = data / "dockerd.log"
        self._command = [str(programs / "usr/sbin/dockerd"), "--config-file", str(self._run / "daemon.json")]
        self.engine = Engine(f"unix://{self._run}/docker.sock", str(buildx), registry)

    def make(self) -> None:
        """Make the folders, the configuration and the bridge."""
        network = network_for(Path("/nonexistent"))
        self._data.mkdir(parents=True)
        self._run.mkdir()
        (self._run / "daemon.json").write_text(json.dumps(self._configuration(network)), encoding="utf-8")
        _ip("link", "add", "name", self._name, "type", "bridge")
        _ip("address", "add", f"{network.split('/')[0].removesuffix('.0')}.1/24", "dev", self._name)
        _ip("link", "set", self._name, "up")

    def start(self) -> None:
        """Start it, with what an earlier start has left in its folders, and wait until it answers."""
        path = f"{self._programs}/usr/bin:{self._programs}/usr/sbin:{_SYSTEM_PATH}"
        environment = {"PATH": path, "HOME": str(self._data)}
        for _ in range(_ATTEMPTS):
            self._dockerd = processes.start_detached(self._command, environment, self._log)
            processes.wait_until(lambda: self._dockerd.poll() is not None or self._answers(), 60)
            if self._dockerd.poll() is None:
                break
        assert self._answers(), f"the engine did not start: {self._log.read_text(errors='replace')[-4000:]}"
        leaks.remember_processes()

    def kill(self) -> None:
        """Kill dockerd and containerd, as the kernel does when memory runs out; the steps go on."""
        killed = [pid for pid, command in self._processes().items() if "containerd-shim" not in command]
        for pid in killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._dockerd.wait()
        # Its orphans are this process's where it adopts them (see leaks.watched), and dockerd takes a dead
        # containerd that nobody has waited for to be alive.
        for pid in killed:
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)

    def remove(self) -> None:
        """End all of its processes, and remove what it made."""
        # dockerd comes first: it ends its children in good order.
        processes.end_processes(lambda: [pid for pid in self._processes() if pid == self._dockerd.pid], 20)
        processes.end_processes(lambda: list(self._processes()), 1)
        processes.remove_cgroup(self._name)
        processes.unmount_below([str(self._data), str(self._run)])
        _ip("link", "delete", self._name)
        shutil.rmtree(self._run)
        shutil.rmtree(self._data)

    def _configuration(self, network: str) -> dict[str, object]:
        """As the role ``engine`` configures the site's."""
        return {
            "data-root": str(self._data / "root"),
            "exec-root": str(self._run),
            "pidfile": str(self._run / "docker.pid"),
            "group": "root",
            "bridge": self._name,
            "iptables": False,
            "ip6tables": False,
            "default-address-pools": [{"base": network, "size": 24}],
            "cgroup-parent": f"/{self._name}",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "features": {"containerd-snapshotter": True},
            "registry-mirrors": [f"http://{self.engine.registry}"],
            **self._tcp,
            "hosts": [self.engine.docker_host, *self._tcp.get("hosts", ())],
        }

    def _answers(self) -> bool:
        try:
            self.engine.docker("info")
        except AssertionError:
            return False
        return True

    def _processes(self) -> dict[int, str]:
        """Its processes other than the containers', which do not name its folder in their arguments."""
        return leaks.running(str(self._run))


@contextmanager
def own_engine(
    data: Path,
    registry: str,
    *,
    programs: Path = PREFIX,
    buildx: Path | None = None,
    tcp: Mapping[str, list[str] | str | bool] = MappingProxyType({}),
) -> Iterator[OwnEngine]:
    """Run an engine with an empty store in the new folder ``data``, for the length of the block.

    ``programs`` is the folder that its packages are unpacked in, the site's private engine's unless
    told otherwise; ``buildx`` can be of another one. ``registry`` (``host:port``) mirrors Docker Hub.
    ``tcp`` are dockerd's settings for being asked otherwise than by its socket: more ``hosts``, and TLS.
    """
    own = OwnEngine(data, programs, buildx or programs / PLUGIN, registry, tcp)
    own.make()
    try:
        own.start()
        yield own
    finally:
        own.remove()


def fetch_engine(suite: str, folder: Path) -> Path:
    """The programs of Debian's ``suite``, unpacked into ``folder``. Raises ``MachineError``."""
    architecture = debian_archive.machine_architecture()
    with debian_archive.Archive(architecture, suite, accept_outdated=True) as archive:
        for package in archive.download(_PACKAGES):
            debian_archive.unpack(package, folder)
    return folder


@dataclass(frozen=True)
class Kind:
    """Engines of the versions from ``least`` to just below ``below``, of which Debian's ``suite`` has one."""

    suite: str
    least: tuple[int, ...]
    below: tuple[int, ...]


#: The engines that whatever depends on the engine's ways is tried on, by what tests call them.
EACH = {"newest engine": Kind("testing", (28,), (1000,)), "engine 26.1": Kind("trixie", (26, 1), (26, 2))}


@contextmanager
def engine_of_kind(name: str, folder: Path) -> Iterator[Engine]:
    """The engine that ``EACH`` calls ``name``: the site's, or else one in the new ``folder``."""
    site, kind = Engine.from_environment(), EACH[name]
    version = version_numbers(site.docker("version", "--format={{.Server.Version}}").decode())
    if kind.least <= version < kind.below:
        yield site
        return
    programs = fetch_engine(kind.suite, folder / "programs")
    with own_engine(folder / "engine", site.registry, programs=programs) as own:
        yield own.engine
    shutil.rmtree(programs)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
