# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which Docker Engine a machine builds with: its own, its distribution's, or a private one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Optional

from ..engine.find import has_containerd_store, version_numbers

LEAST_ENGINE = (26, 0)
LEAST_BUILDX = (0, 13)
# A probe of a daemon that hangs must not hang the set-up.
_SECONDS = 15.0


class EngineMissing(Exception):
    """No engine as asked for; the text says why and what to do."""


@dataclass(frozen=True)
class Engine:
    origin: str
    reason: str
    docker_host: str
    docker_cli: str
    buildx: str
    running: bool = False
    version: str = ""
    buildx_version: str = ""
    containerd_store: bool = True
    builder_exists: bool = False

    def as_result(self) -> dict[str, Any]:
        return asdict(self)


def _output(*command: str, host: str = "") -> Optional[str]:
    environment = {**os.environ, "DOCKER_HOST": host} if host else dict(os.environ)
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            text=True,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _information(cli: str, host: str = "") -> dict[str, Any]:
    """What the daemon says of itself; nothing when it does not answer."""
    text = _output(cli, "info", "--format", "{{json .}}", host=host)
    information = json.loads(text) if text else {}
    return information if information.get("ServerVersion") else {}


def private(name: str, reason: str) -> Engine:
    prefix = f"/opt/{name}"
    cli = f"{prefix}/usr/bin/docker"
    buildx = f"{prefix}/usr/libexec/docker/cli-plugins/docker-buildx"
    host = f"unix:///run/{name}/docker.sock"
    information = _information(cli, host) if os.path.exists(f"/run/{name}/docker.sock") else {}
    buildx_version = _output(buildx, "version") or ""
    return Engine(
        origin="private",
        reason=reason,
        docker_host=host,
        docker_cli=cli,
        buildx=buildx,
        running=bool(information and buildx_version),
        version=information.get("ServerVersion", ""),
        buildx_version=_plain(buildx_version),
    )


def _plain(buildx_version: str) -> str:
    """``0.13.1`` from ``github.com/docker/buildx v0.13.1 abcdef``."""
    match = re.search(r"\d+\.\d+\S*", buildx_version.split(" ", 1)[-1])
    return match.group(0) if match else ""


def _host(name: str) -> tuple[Optional[Engine], str]:
    """The machine's own engine where it suffices, else why it does not."""
    cli = shutil.which("docker")
    if cli is None:
        return None, "this machine has no Docker client"
    host = os.environ.get("DOCKER_HOST", "")
    if host == f"unix:///run/{name}/docker.sock":
        host = "unix:///var/run/docker.sock"
    information = _information(cli, host)
    if not information:
        return None, "no Docker daemon of this machine's own answers"
    version = information["ServerVersion"]
    if version_numbers(version) < LEAST_ENGINE:
        return None, f"this machine's Docker Engine {version} is older than {LEAST_ENGINE[0]}"
    buildx_version = _plain(_output(cli, "buildx", "version", host=host) or "")
    if version_numbers(buildx_version) < LEAST_BUILDX:
        return None, f"this machine's buildx ({buildx_version or 'none'}) is older than 0.13"
    return (
        Engine(
            origin="distribution" if Path(f"/opt/{name}/distribution").exists() else "host",
            reason=f"this machine's Docker Engine {version} with buildx {buildx_version} suffices",
            docker_host=host or _endpoint(cli),
            docker_cli=cli,
            buildx=_plugin(cli, host),
            running=True,
            version=version,
            buildx_version=buildx_version,
            containerd_store=has_containerd_store(information),
            builder_exists=_output(cli, "buildx", "inspect", name, host=host) is not None,
        ),
        "",
    )


def _endpoint(cli: str) -> str:
    """The address of the client's current context, when no DOCKER_HOST names one."""
    text = _output(cli, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}")
    return (text or "").strip() or "unix:///var/run/docker.sock"


def _plugin(cli: str, host: str) -> str:
    text = _output(cli, "info", "--format", "{{json .ClientInfo.Plugins}}", host=host)
    plugins = json.loads(text) if text else []
    return next((plugin.get("Path", "") for plugin in plugins or [] if plugin.get("Name") == "buildx"), "")


def _candidate(package: str) -> str:
    text = _output("apt-cache", "policy", package) or ""
    match = re.search(r"Candidate: (\d\S*)", text)
    return match.group(1) if match else ""


def _distribution_suffices() -> bool:
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    if release.get("ID") == "debian":
        # Asked of the release, since a fresh machine has no package lists to ask yet.
        return version_numbers(release.get("VERSION_ID", "0").strip('"') + ".0") >= (13, 0)
    return (
        version_numbers(_candidate("docker.io")) >= LEAST_ENGINE
        and version_numbers(_candidate("docker-buildx")) >= LEAST_BUILDX
    )


def find(name: str, mode: str) -> Engine:
    """The engine to build with, running or still to be made."""
    if mode == "private":
        return private(name, "a private engine is asked for")
    own, reason = _host(name)
    if own is not None:
        return own
    if mode == "host":
        raise EngineMissing(f"{reason}; start or update it, or set engine_mode to auto or private")
    # What is there stays in use, also when the distribution has caught up since.
    if Path(f"/opt/{name}/usr/sbin/dockerd").exists() or not _distribution_suffices():
        return private(name, reason)
    return Engine(
        origin="distribution",
        reason=f"{reason}, and the distribution's is new enough",
        docker_host="unix:///var/run/docker.sock",
        docker_cli="/usr/bin/docker",
        buildx="/usr/libexec/docker/cli-plugins/docker-buildx",
    )


def platforms(
    engine: Engine, wanted: Sequence[str], runnable: Callable[[Sequence[str]], list[str]]
) -> list[str]:
    """The wanted platforms that can be built; another machine's engine is asked itself."""
    if engine.docker_host.startswith("unix://"):
        return runnable(wanted)
    text = _output(engine.docker_cli, "buildx", "inspect", host=engine.docker_host) or ""
    found = re.findall(r"^Platforms:\s*(.*)$", text, re.MULTILINE)
    known = {name.strip().rstrip("*") for line in found for name in line.split(",")}
    return [platform for platform in wanted if platform in known]
