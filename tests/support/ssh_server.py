# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A real sshd for tests, which lets one key run one command."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.registry import free_port


@dataclass(frozen=True)
class SshServer:
    """A running sshd; ``key`` is the private key that it lets in, ``known_hosts`` names its own."""

    port: int
    key: Path
    known_hosts: Path


@contextmanager
def ssh_server(
    site: Path, command: str, *, host: str = "127.0.0.1", variables: Sequence[str] = ()
) -> Iterator[SshServer]:
    """Run an sshd that keeps its keys and configuration in the folder ``site``.

    The key may only run ``command``, of a shell, which finds what was asked for in ``SSH_ORIGINAL_COMMAND``.
    ``variables`` are the names of those that a client may set.
    """
    site.mkdir(parents=True, exist_ok=True)
    port = free_port(host)
    for name in ("host_key", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(site / name)], check=True)
    (site / "known_hosts").write_text(
        f"[{host}]:{port} {(site / 'host_key.pub').read_text()}", encoding="utf-8"
    )
    shell = site / "serve"
    shell.write_text(f"#!/bin/sh\nexec {command}\n", encoding="utf-8")
    shell.chmod(0o700)
    authorized = f'restrict,command="{shell}" {(site / "key.pub").read_text()}'
    (site / "authorized_keys").write_text(authorized, encoding="utf-8")
    lines = [
        f"Port {port}",
        f"ListenAddress {host}",
        f"HostKey {site / 'host_key'}",
        f"PidFile {site / 'sshd.pid'}",
        f"AuthorizedKeysFile {site / 'authorized_keys'}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "PermitRootLogin yes",
        f"AcceptEnv {' '.join(variables) or 'NOTHING'}",
    ]
    (site / "sshd_config").write_text("\n".join(lines) + "\n", encoding="utf-8")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants its empty directory
    arguments = ["/usr/sbin/sshd", "-D", "-e", "-f", str(site / "sshd_config")]
    with running(arguments, host, port, site / "sshd.log", {"PATH": os.environ["PATH"]}):
        yield SshServer(port, site / "key", site / "known_hosts")


@contextmanager
def running(
    arguments: Sequence[str], host: str, port: int, log: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    """Run a server for the length of the block, which begins once it listens."""
    with log.open("wb") as output:
        server = subprocess.Popen(
            arguments,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 20
        while not _listens(host, port):
            assert server.poll() is None, f"{arguments[0]} did not start: {log.read_text(errors='replace')}"
            assert time.monotonic() < deadline, f"{arguments[0]} does not listen"
            time.sleep(0.05)
        yield
    finally:
        # git starts its daemon as a child of its own.
        os.killpg(server.pid, 15)
        server.wait(10)


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
