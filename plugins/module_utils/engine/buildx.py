# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The program buildx: where it is, and what it says of itself and of builders."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Optional

from ..docker_config import docker_config_folder
from ..oci.platform import Platform
from ..process import Result, run
from . import ask
from .endpoint import PRIVATE_NAME, VARIABLES, Endpoint

NAME = "docker-buildx"
PRIVATE_PREFIX = f"/opt/{PRIVATE_NAME}"
#: Where Debian's package has it, below the prefix.
PLUGINS = "usr/libexec/docker/cli-plugins"
_PLUGIN_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
# By itself buildx passes over the variables for TLS (docker/compose#12679), as the Docker CLI's plugin it
# does not. This variable tells it that it is one. Source: docker/cli ``cli-plugins/plugin``.
_AS_PLUGIN = "DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND"


def find(*, private: bool = True) -> Optional[str]:
    """The path of buildx: the user's, the machine's, or the ``private`` engine's."""
    for folder in (os.path.join(docker_config_folder(), "cli-plugins"), *_PLUGIN_FOLDERS):
        path = os.path.join(folder, NAME)
        if os.access(path, os.X_OK):
            return path
    own = shutil.which(NAME)
    if own is not None or not private:
        return own
    return shutil.which(NAME, path=f"{PRIVATE_PREFIX}/{PLUGINS}")


def command(program: str, endpoint: Endpoint) -> list[str]:
    """What the arguments of buildx follow, in the environment that ``environment`` gives."""
    return [program, "buildx"] if endpoint.is_tls_of_the_environment else [program]


def environment(endpoint: Endpoint) -> dict[str, str]:
    """The environment in which buildx uses ``endpoint``, with the user's own configuration."""
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    if endpoint.is_tls_of_the_environment:
        env[_AS_PLUGIN] = "docker"
    if endpoint.url.startswith("ssh://"):
        env["SSH_ASKPASS_REQUIRE"] = "never"
    return {
        **env,
        **endpoint.variables(),
        "PATH": os.pathsep.join((os.environ.get("PATH", os.defpath), f"{PRIVATE_PREFIX}/usr/bin")),
        "LC_ALL": "C",
        "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
    }


def version(program: str, endpoint: Endpoint) -> str:
    """``0.13.1`` from ``github.com/docker/buildx v0.13.1 abcdef``; empty where it does not say."""
    match = re.search(r"\d+\.\d+\S*", tell(program, endpoint, "version").stdout.partition(" ")[2])
    return match.group(0) if match else ""


def tell(program: str, endpoint: Endpoint, *arguments: str) -> Result:
    """What buildx says; one that does not answer in time has failed."""
    argv = [*command(program, endpoint), *arguments]
    try:
        return run(argv, env=environment(endpoint), timeout=ask.ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        return Result(1, "", f"no answer within {ask.ANSWER_SECONDS:.0f} seconds")


def platforms(program: str, endpoint: Endpoint, builder: str) -> tuple[tuple[Platform, ...], str]:
    """What ``builder`` can run, or why it is not known.

    From ``buildx inspect`` (its only output that older ones share).
    """
    result = tell(program, endpoint, "inspect", *([builder] if builder else []))
    lines = re.findall(r"^Platforms:\s*(.+)$", result.stdout, re.MULTILINE)
    words = ",".join(lines).replace("*", "")
    if words:
        return tuple(dict.fromkeys(map(Platform.parse, words.split(",")))), ""
    error = re.search(r"^Error:\s*(.+)$", result.stdout, re.MULTILINE)
    said = error.group(1) if error else result.stderr.strip().rpartition("\n")[2].removeprefix("ERROR: ")
    return (), said.strip().rstrip(".") or "it does not say what it can run"


def version_numbers(version: str) -> tuple[int, ...]:
    """``(26, 1)`` from ``26.1.5``, Debian's ``5:26.1.5-1``, or a line with one; ``(0, 0)`` without one."""
    match = re.search(r"(\d+)\.(\d+)", version.split(":", 1)[-1])
    return tuple(int(part) for part in match.groups()) if match else (0, 0)
