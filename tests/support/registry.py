# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Real registries for tests: with passwords, with TLS, on any address of this machine."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import bcrypt

from tests.support.engine import program
from tests.support.http import encoded_account

DOCKER_CERTIFICATES = Path("/etc/docker/certs.d")

_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Registry:
    """A registry at ``address`` (``host:port``), with the account and the CA (PEM) it wants, if any."""

    address: str
    username: str = ""
    password: str = ""
    ca: Optional[Path] = None

    @property
    def url(self) -> str:
        """The registry's address with its scheme."""
        return f"{'https' if self.ca else 'http'}://{self.address}"

    def get(self, path: str, accept: str = "*/*") -> tuple[dict[str, str], bytes]:
        """GET ``/v2/`` + ``path``: the headers (names in lower case) and the body. Raises ``HTTPError``."""
        request = urllib.request.Request(f"{self.url}/v2/{path}", headers={"Accept": accept})
        if self.username:
            request.add_header("Authorization", f"Basic {encoded_account(self.username, self.password)}")
        context = ssl.create_default_context(cafile=str(self.ca)) if self.ca else None
        with urllib.request.urlopen(request, timeout=20, context=context) as answer:
            return {name.lower(): value for name, value in answer.headers.items()}, answer.read()

    def repositories(self) -> list[str]:
        """The names of all repositories, however many pages a registry gives them in."""
        names: list[str] = []
        while True:
            last = urllib.parse.quote(names[-1], safe="") if names else ""
            page = json.loads(self.get(f"_catalog?n=1000&last={last}")[1])["repositories"]
            if not page:
                return names
            names += page


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port of ``host`` that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def outer_address() -> str:
    """An IPv4 address of this machine other than loopback, which Docker does not take for insecure."""
    listed = subprocess.run(
        ["ip", "-json", "-4", "address", "show", "scope", "global"], check=True, capture_output=True
    )
    for link in json.loads(listed.stdout):
        for entry in link["addr_info"]:
            return str(entry["local"])
    raise AssertionError("this machine has no address besides loopback; an engine's bridge would be one")


@contextmanager
def registry(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: Optional[int] = None,
    username: str = "",
    password: str = "",
    tls: bool = False,
    trusted: bool = True,
) -> Iterator[Registry]:
    """Run a registry that keeps its data in ``folder``; the account is asked for where ``username`` is given.

    ``tls`` gives it a certificate of a CA made for it; ``trusted`` makes the Docker daemon trust that CA.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = Registry(
        f"{host}:{port or free_port(host)}", username, password, folder / "ca.crt" if tls else None
    )
    configuration: dict[str, object] = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "http": {"addr": made.address},
    }
    if username:
        hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        (folder / "htpasswd").write_text(f"{username}:{hashed}\n", encoding="utf-8")
        configuration["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    with ExitStack() as stack:
        if tls:
            make_certificate(folder, host)
            configuration["http"] = {
                "addr": made.address,
                "tls": {"certificate": str(folder / "server.crt"), "key": str(folder / "server.key")},
            }
            if trusted:
                stack.enter_context(trusted_by_docker(made.address, folder / "ca.crt"))
        file = folder / "registry.yml"
        file.write_text(json.dumps(configuration), encoding="utf-8")  # JSON is YAML
        log = stack.enter_context((folder / "registry.log").open("wb"))
        server = subprocess.Popen(
            [program("docker-registry"), "serve", str(file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _wait_until_ready(made, server, folder / "registry.log")
            yield made
        finally:
            server.terminate()
            server.wait(10)


@contextmanager
def trusted_by_docker(address: str, ca: Path) -> Iterator[None]:
    """Have the Docker daemon trust ``ca`` for the registry at ``address``, as an administrator would."""
    made = [
        parent
        for parent in (DOCKER_CERTIFICATES / address, DOCKER_CERTIFICATES, DOCKER_CERTIFICATES.parent)
        if not parent.exists()
    ]
    (DOCKER_CERTIFICATES / address).mkdir(parents=True, exist_ok=True)
    shutil.copy(ca, DOCKER_CERTIFICATES / address / "ca.crt")
    try:
        yield
    finally:
        (DOCKER_CERTIFICATES / address / "ca.crt").unlink()
        for folder in made:
            if not any(folder.iterdir()):
                folder.rmdir()


def make_certificate(folder: Path, host: str) -> None:
    """Make a CA (``ca.crt``) and a certificate of it (``server.crt``, ``server.key``) in ``folder``."""
    (folder / "extensions").write_text(f"subjectAltName=IP:{host}\n", encoding="utf-8")
    _openssl(
        folder,
        *("req", "-x509", *_CURVE, "-days", "2", "-subj", "/CN=image-builder tests"),
        *("-addext", "keyUsage=critical,keyCertSign", "-keyout", "ca.key", "-out", "ca.crt"),
    )
    _make_signed(folder, host, "server.crt", "server.key")


def make_client_certificate(folder: Path) -> None:
    """Make a client's certificate (``cert.pem``, ``key.pem``) of the CA that lies in ``folder``."""
    (folder / "extensions").write_text("extendedKeyUsage=clientAuth\n", encoding="utf-8")
    _make_signed(folder, "client", "cert.pem", "key.pem")


def _make_signed(folder: Path, subject: str, certificate: str, key: str) -> None:
    _openssl(folder, "req", *_CURVE, "-subj", f"/CN={subject}", "-keyout", key, "-out", "request")
    _openssl(
        folder,
        *("x509", "-req", "-in", "request", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"),
        *("-days", "2", "-extfile", "extensions", "-out", certificate),
    )


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def _wait_until_ready(made: Registry, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while server.poll() is None and time.monotonic() < deadline:
        try:
            made.get("")
        except urllib.error.URLError:
            time.sleep(0.05)
        else:
            return
    server.kill()
    raise AssertionError(f"the registry at {made.address} did not start: {log.read_text(errors='replace')}")
