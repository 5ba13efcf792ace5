# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which Docker Engine a machine builds with: its own, its distribution's, or a private one."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Union

from ..engine import buildx, emulation
from ..engine.ask import ask, has_containerd_store
from ..engine.buildx import version_numbers
from ..engine.endpoint import DEFAULT_SOCKET, Endpoint, own_endpoint
from ..errors import EngineError, MachineError
from .commands import output

LEAST_ENGINE = (26, 0)
LEAST_BUILDX = (0, 13)

Origin = Literal["host", "distribution", "private"]
Mode = Literal["auto", "host", "private"]


@dataclass(frozen=True)
class Choice:
    """The engine to build with; its fields are as the module ``build_engine_info`` describes its results."""

    origin: Origin
    reason: str
    endpoint: Endpoint
    docker_cli: str
    buildx: str
    running: bool = False
    version: str = ""
    buildx_version: str = ""
    containerd_store: bool = True
    builder_exists: bool = False


def result(name: str, mode: Mode, wanted: Sequence[str]) -> dict[str, Any]:
    """The choice as the module ``build_engine_info`` tells it, but for the network.

    ``platforms`` are those of ``wanted`` that can be built there. Raises ``EngineError`` where ``mode`` asks
    for an engine that does not suffice.
    """
    choice = choose(name, mode)
    found = asdict(choice)
    del found["endpoint"]
    return {**found, "docker_host": choice.endpoint.url, "platforms": _platforms(choice, wanted)}


def choose(name: str, mode: Mode) -> Choice:
    """The engine to build with, running or still to be made.

    Raises ``EngineError``.
    """
    if mode == "private":
        return _private(name, "a private engine is asked for")
    own = _own_engine(name)
    if isinstance(own, Choice):
        return own
    if mode == "host":
        raise EngineError(
            "no_engine",
            f"{own[0].upper()}{own[1:]}.",
            hint="Start or update it, or set engine_mode to auto or private.",
        )
    # What is there stays in use, also when the distribution has caught up since.
    if Path(f"/opt/{name}/usr/sbin/dockerd").exists() or not _distribution_suffices():
        return _private(name, own)
    return Choice(
        origin="distribution",
        reason=f"{own}, and the distribution's is new enough",
        endpoint=Endpoint(f"unix://{DEFAULT_SOCKET}"),
        docker_cli="/usr/bin/docker",
        buildx=f"/{buildx.PLUGINS}/{buildx.NAME}",
    )


def _private(name: str, reason: str) -> Choice:
    program = f"/opt/{name}/{buildx.PLUGINS}/{buildx.NAME}"
    endpoint = Endpoint(_private_host(name))
    version, info = "", {}
    if os.access(program, os.X_OK) and os.path.exists(f"/run/{name}/docker.sock"):
        version = buildx.version(program, endpoint)
        # The role starts one that does not answer.
        with suppress(EngineError):
            info = ask(endpoint)
    return Choice(
        origin="private",
        reason=reason,
        endpoint=endpoint,
        docker_cli=f"/opt/{name}/usr/bin/docker",
        buildx=program,
        running=bool(info and version),
        version=info.get("ServerVersion", ""),
        buildx_version=version,
    )


def _private_host(name: str) -> str:
    return f"unix:///run/{name}/docker.sock"


def _own_engine(name: str) -> Union[Choice, str]:
    """The machine's own engine where it suffices, else why it does not."""
    try:
        endpoint = own_endpoint()
        if os.environ.get("DOCKER_HOST") == _private_host(name):
            endpoint = Endpoint(f"unix://{DEFAULT_SOCKET}")
        if endpoint is None:
            return "this machine has no Docker daemon of its own"
        info = ask(endpoint)
    except EngineError as error:
        return f"no Docker daemon of this machine's own answers ({error.message.rstrip('.')})"
    engine = info["ServerVersion"]
    if version_numbers(engine) < LEAST_ENGINE:
        return f"this machine's Docker Engine {engine} is older than {LEAST_ENGINE[0]}"
    program = buildx.find(private=False)
    version = buildx.version(program, endpoint) if program else ""
    if program is None:
        return "this machine has no buildx"
    if version_numbers(version) < LEAST_BUILDX:
        return f"this machine's buildx ({version or 'of unknown version'}) is older than 0.13"
    return Choice(
        origin="distribution" if Path(f"/opt/{name}/distribution").exists() else "host",
        reason=f"this machine's Docker Engine {engine} with buildx {version} suffices",
        endpoint=endpoint,
        docker_cli=shutil.which("docker") or "",
        buildx=program,
        running=True,
        version=engine,
        buildx_version=version,
        containerd_store=has_containerd_store(info),
        builder_exists=buildx.tell(program, endpoint, "inspect", name).status == 0,
    )


def _platforms(choice: Choice, wanted: Sequence[str]) -> list[str]:
    """The wanted platforms that can be built; another machine's engine is asked itself."""
    if choice.endpoint.is_local:
        return emulation.runnable(wanted)
    found = buildx.platforms(choice.buildx, choice.endpoint, "")[0]
    return [platform for platform in wanted if platform in map(str, found)]


def _candidate(package: str) -> str:
    try:
        text = output(["apt-cache", "policy", package])
    except MachineError:
        return ""
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
