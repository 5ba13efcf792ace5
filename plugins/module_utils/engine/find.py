# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Finding a Docker Engine with buildx that can build for several platforms and push.

In this order: what the caller names, ``DOCKER_HOST``, the machine's own engine where it
suffices, and the private engine that the role ``engine`` sets up.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ..docker_config import docker_config_folder
from ..errors import EngineError
from ..oci.platform import Platform
from ..process import Result, run
from . import emulation

PRIVATE_NAME = "image-builder"
PRIVATE_PREFIX = f"/opt/{PRIVATE_NAME}"
PRIVATE_SOCKET = f"unix:///run/{PRIVATE_NAME}/docker.sock"
#: The docker-container builder that the role ``engine`` makes on an engine with the classic store.
PRIVATE_BUILDER = PRIVATE_NAME
_DEFAULT_SOCKET = "/var/run/docker.sock"
_PLUGIN_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
    f"{PRIVATE_PREFIX}/usr/libexec/docker/cli-plugins",
)
_HINT = "Set one up with: ansible-playbook sodalite.image_builder.setup"
_ANSWER_SECONDS = 30.0
# What Debian's BuildKit does not list though it runs them.
_LEFT_OUT = ("linux/386", "linux/arm/v5", "linux/arm/v6", "linux/arm/v7")
# BuildKit's ``rewrite-timestamp``, which Docker Engine has had since 26.
_REWRITING_BUILDKIT = (0, 13)
_REWRITING_ENGINE = (26, 0)
# buildx before docker/buildx#3023 pushes a second time, from the engine's store, what is not kept there.
_PUSHING_ONCE_BUILDX = (0, 22)


@dataclass(frozen=True)
class Engine:
    """A reachable engine: its endpoint, the programs to drive it, and what it says of itself.

    ``docker_host`` is empty for the endpoint that the user's Docker CLI is set to, ``builder``
    is empty for the engine's own. ``info`` is the Engine API's ``GET /info``; ``native`` the platform
    that the builder runs without emulation (BuildKit's ``BUILDPLATFORM``).
    """

    docker_host: str
    buildx: str
    builder: str
    info: Mapping[str, Any]
    native: Platform

    @property
    def version(self) -> str:
        """The engine's version, such as ``26.1.5``."""
        return str(self.info.get("ServerVersion", ""))


def find(builder: Optional[str] = None) -> Engine:
    """The engine to build with. ``builder`` is an existing buildx builder of the user.

    Raises ``EngineError`` that says what was tried.
    """
    docker = shutil.which("docker", path=_search_path())
    buildx = _find_buildx()
    if docker is None or buildx is None:
        missing = "the docker command" if docker is None else "the buildx plugin"
        raise EngineError(
            "no_engine", f"No Docker Engine with buildx was found: {missing} is missing.", hint=_HINT
        )
    tried: list[str] = []
    for docker_host in _endpoints():
        info, failure = _info(docker, docker_host)
        where = docker_host or "the Docker CLI's endpoint"
        if not info:
            tried.append(f"{where}: {failure}")
            continue
        if builder is None and has_containerd_store(info):
            native = Platform.parse(f"{info['OSType']}/{info['Architecture']}")
            return Engine(docker_host, buildx, "", info, native)
        platforms, failure = _platforms(buildx, docker_host, builder or PRIVATE_BUILDER)
        if platforms:
            return Engine(docker_host, buildx, builder or PRIVATE_BUILDER, info, platforms[0])
        if builder is not None:
            raise EngineError(
                "builder_unusable",
                f"The buildx builder {builder} cannot be used: {failure}.",
                hint="List the builders with: docker buildx ls",
            )
        tried.append(
            f"{where}: its image store holds one platform only, and it has no builder {PRIVATE_BUILDER}"
        )
    raise EngineError(
        "no_engine",
        "No Docker Engine that can build several platforms was found: " + "; ".join(tried) + ".",
        hint=_HINT,
    )


def not_runnable(engine: Engine, wanted: Iterable[Platform]) -> dict[Platform, tuple[Platform, ...]]:
    """Those of ``wanted`` that the builder cannot run, each with what it says it can run.

    For an engine on this machine the kernel is asked too (see ``_LEFT_OUT``). Raises
    ``EngineError`` when the builder does not answer.
    """
    here = emulation.runnable([str(platform) for platform in wanted]) if _is_local(engine) else []
    missing = [platform for platform in wanted if str(platform) not in here]
    if not missing:
        return {}
    found = _runnable(engine)
    return {platform: found for platform in missing if platform not in found}


def runnable(engine: Engine) -> tuple[Platform, ...]:
    """The platforms that the builder runs, emulated ones included. Raises ``EngineError``."""
    here = emulation.runnable(_LEFT_OUT) if _is_local(engine) else []
    return tuple(sorted({*_runnable(engine), *map(Platform.parse, here)}))


def _is_local(engine: Engine) -> bool:
    return not engine.builder and engine.docker_host.startswith("unix://")


def _runnable(engine: Engine) -> tuple[Platform, ...]:
    found, failure = _platforms(engine.buildx, engine.docker_host, engine.builder)
    if not found:
        raise EngineError("builder_unusable", f"The builder does not answer: {failure}.", retryable=True)
    return found


def rewrites_timestamps(engine: Engine) -> bool:
    """Whether the builder can give an image's files the commit's time, so that others build the same digest.

    An engine's own builder does so only for images that it does not keep in its store.
    """
    if engine.builder:
        told = _ask([engine.buildx, "inspect", engine.builder], engine.docker_host).stdout
        if not re.search(r"^Driver:\s*docker$", told, re.MULTILINE):
            found = re.findall(r"^BuildKit version:\s*(.+)$", told, re.MULTILINE)
            return bool(found) and all(version_numbers(text) >= _REWRITING_BUILDKIT for text in found)
    buildx = _ask([engine.buildx, "version"], engine.docker_host).stdout
    return (
        version_numbers(engine.version) >= _REWRITING_ENGINE
        and version_numbers(buildx) >= _PUSHING_ONCE_BUILDX
    )


def version_numbers(version: str) -> tuple[int, ...]:
    """``(26, 1)`` from ``26.1.5``, Debian's ``5:26.1.5-1``, or a line with one; ``(0, 0)`` without one."""
    match = re.search(r"(\d+)\.(\d+)", version.split(":", 1)[-1])
    return tuple(int(part) for part in match.groups()) if match else (0, 0)


def environment(engine: Engine) -> dict[str, str]:
    """The environment for the Docker CLI and buildx, with the user's own configuration."""
    return _environment(engine.docker_host)


def _environment(docker_host: str) -> dict[str, str]:
    env = {**os.environ, "PATH": _search_path(), "LC_ALL": "C", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
    if docker_host:
        env["DOCKER_HOST"] = docker_host
        env.pop("DOCKER_CONTEXT", None)
    return env


def _search_path() -> str:
    return os.pathsep.join((os.environ.get("PATH", os.defpath), f"{PRIVATE_PREFIX}/usr/bin"))


def _find_buildx() -> Optional[str]:
    folders = (os.path.join(docker_config_folder(), "cli-plugins"), *_PLUGIN_FOLDERS)
    for folder in folders:
        path = os.path.join(folder, "docker-buildx")
        if os.access(path, os.X_OK):
            return path
    return shutil.which("docker-buildx", path=_search_path())


def _endpoints() -> list[str]:
    if os.environ.get("DOCKER_HOST"):
        return [os.environ["DOCKER_HOST"]]
    found = []
    if os.environ.get("DOCKER_CONTEXT") or _has_current_context():
        found.append("")
    elif os.path.exists(_DEFAULT_SOCKET):
        found.append(f"unix://{_DEFAULT_SOCKET}")
    found.append(PRIVATE_SOCKET)
    return found


def _has_current_context() -> bool:
    try:
        with open(os.path.join(docker_config_folder(), "config.json"), encoding="utf-8") as file:
            return bool(json.load(file).get("currentContext"))
    except (OSError, ValueError, AttributeError):
        return False


def _info(docker: str, docker_host: str) -> tuple[dict[str, Any], str]:
    result = _ask([docker, "info", "--format", "{{json .}}"], docker_host)
    try:
        info = json.loads(result.stdout)
    except ValueError:
        info = {}
    errors = info.get("ServerErrors") or []
    if result.status == 0 and info.get("ServerVersion") and not errors:
        return info, ""
    return {}, _last_line("\n".join(errors) or result.stderr)


def has_containerd_store(info: Mapping[str, Any]) -> bool:
    """Whether an engine, by its ``GET /info``, keeps images where several platforms fit."""
    status = info.get("DriverStatus") or []
    return any("io.containerd.snapshotter" in str(value) for _, value in status)


def _platforms(buildx: str, docker_host: str, builder: str) -> tuple[tuple[Platform, ...], str]:
    """What ``builder`` can run, from ``buildx inspect`` (its only output that older ones share)."""
    argv = [buildx, "inspect", *([builder] if builder else [])]
    result = _ask(argv, docker_host)
    found: list[Platform] = []
    for line in re.findall(r"^Platforms:\s*(.+)$", result.stdout, re.MULTILINE):
        for word in line.replace("*", "").split(","):
            platform = Platform.parse(word)
            if platform not in found:
                found.append(platform)
    if found:
        return tuple(found), ""
    error = re.search(r"^Error:\s*(.+)$", result.stdout, re.MULTILINE)
    return (), error.group(1) if error else _last_line(result.stderr) or "it does not say what it can run"


def _ask(argv: list[str], docker_host: str) -> Result:
    try:
        return run(argv, env=_environment(docker_host), timeout=_ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return Result(1, "", f"no answer within {_ANSWER_SECONDS:.0f} seconds")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("ERROR: ").rstrip(".") if lines else "no answer"
