# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Engines that are reached by a socket, by tcp with TLS, by a context, and by ssh; and why they are not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import endpoint
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import find as engines
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import EngineError

from tests.builds.site import Site
from tests.support.engine import PREFIX, Engine
from tests.support.own_engine import OwnEngine, own_engine
from tests.support.registry import free_port, make_certificate, make_client_certificate
from tests.support.ssh_server import SshServer, ssh_server

pytestmark = pytest.mark.engine

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Remote:
    """An engine that is not asked by its socket: its ``tcp`` address, the client's ``keys``, and an sshd."""

    own: OwnEngine
    tcp: str
    keys: Path
    sshd: SshServer

    @property
    def ssh(self) -> str:
        return f"ssh://root@{HOST}:{self.sshd.port}"


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    keys = tmp_path_factory.mktemp("keys")
    make_certificate(keys, HOST)
    make_client_certificate(keys)
    shutil.copyfile(keys / "ca.crt", keys / "ca.pem")
    tcp = f"tcp://{HOST}:{free_port(HOST)}"
    listening = {
        "hosts": [tcp],
        "tlsverify": True,
        "tlscacert": str(keys / "ca.crt"),
        "tlscert": str(keys / "server.crt"),
        "tlskey": str(keys / "server.key"),
    }
    data = tmp_path_factory.mktemp("remote") / "engine"
    with own_engine(data, Engine.from_environment().registry, tcp=listening) as own:
        settings = f"PATH={PREFIX}/usr/bin:$PATH DOCKER_HOST={own.engine.docker_host}"
        far = f'env {settings} sh -c "$SSH_ORIGINAL_COMMAND"'
        with ssh_server(tmp_path_factory.mktemp("ssh"), far) as sshd:
            yield Remote(own, tcp, keys, sshd)


@pytest.fixture
def engine(remote: Remote) -> Engine:
    """What the tests of this module build with."""
    return remote.own.engine


@dataclass(frozen=True)
class User:
    """Somebody whose Docker configuration lies in ``config``, and whose environment names no engine."""

    config: Path
    remote: Remote
    monkeypatch: pytest.MonkeyPatch

    def set(self, **variables: str) -> None:
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)

    def forget(self) -> None:
        """Name no engine any more."""
        for name in endpoint.VARIABLES:
            self.monkeypatch.delenv(name, raising=False)

    def make_context(self, name: str, host: str, keys: Optional[Path] = None) -> None:
        """Make a context as the Docker CLI does."""
        files = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"} if keys else {}
        tls = [f"{key}={keys}/{file}" for key, file in files.items() if keys and (keys / file).exists()]
        described = ",".join((f"host={host}", *tls))
        self.remote.own.engine.docker("context", "create", name, "--docker", described, config=self.config)

    def use_ssh(self, *, known: bool = True, key: bool = True) -> None:
        """Have ssh's configuration, which it takes from root's home whatever HOME is, lie elsewhere."""
        folder = self.config.parent / "bin"
        folder.mkdir()
        lines = [
            f"UserKnownHostsFile {self.remote.sshd.known_hosts if known else os.devnull}",
            "GlobalKnownHostsFile /dev/null",
            f"IdentityFile {self.remote.sshd.key if key else '/nonexistent'}",
            "IdentitiesOnly yes",
        ]
        (folder / "config").write_text("\n".join(lines) + "\n", encoding="utf-8")
        program = folder / "ssh"
        program.write_text(
            f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n', encoding="utf-8"
        )
        program.chmod(0o755)
        self.monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


@pytest.fixture
def user(tmp_path: Path, machine: tuple[Path, Path], remote: Remote, monkeypatch: pytest.MonkeyPatch) -> User:
    config = tmp_path / "user" / "docker"
    config.mkdir(parents=True)
    monkeypatch.setenv("DOCKER_CONFIG", str(config))
    # The site's own engine is found otherwise wherever another one cannot be used.
    monkeypatch.setattr(endpoint, "PRIVATE_SOCKET", "unix:///nonexistent/private.sock")
    user = User(config, remote, monkeypatch)
    user.forget()
    return user


def by_socket(user: User) -> None:
    user.set(DOCKER_HOST=user.remote.own.engine.docker_host)


def by_tls(user: User) -> None:
    user.set(DOCKER_HOST=user.remote.tcp, DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(user.remote.keys))


def by_tls_in_the_configuration(user: User) -> None:
    for name in ("ca.pem", "cert.pem", "key.pem"):
        shutil.copyfile(user.remote.keys / name, user.config / name)
    user.set(DOCKER_HOST=user.remote.tcp, DOCKER_TLS_VERIFY="1")


def by_context(user: User) -> None:
    user.make_context("far-away", user.remote.tcp, user.remote.keys)
    user.set(DOCKER_CONTEXT="far-away")


def by_current_context(user: User) -> None:
    user.make_context("far-away", user.remote.own.engine.docker_host)
    (user.config / "config.json").write_text('{"currentContext": "far-away"}', encoding="utf-8")


def by_ssh(user: User) -> None:
    user.use_ssh()
    user.set(DOCKER_HOST=user.remote.ssh)


def by_context_of_ssh(user: User) -> None:
    user.use_ssh()
    user.make_context("far-away", user.remote.ssh)
    user.set(DOCKER_CONTEXT="far-away")


WAYS = [
    by_socket,
    by_tls,
    by_tls_in_the_configuration,
    by_context,
    by_current_context,
    by_ssh,
    by_context_of_ssh,
]


@pytest.mark.parametrize("way", WAYS)
def test_an_engine_is_found_and_built_on_by_each_way(
    way: Callable[[User], None], user: User, site: Site, engine: Engine
) -> None:
    way(user)
    found = engines.find()
    site.write(Dockerfile="FROM scratch\nCOPY mark /mark\n", mark="built")
    site.build_ok({"image": "one"})
    assert "linux/amd64" in site.pushed("one").platforms()
    user.forget()
    assert found.info["ID"] == engine.docker("info", "--format={{.ID}}").decode().strip()


def without_tls(user: User) -> None:
    user.set(DOCKER_HOST=user.remote.tcp)


def _with_keys(user: User, wanted: Mapping[str, Path]) -> None:
    folder = user.config.parent / "keys"
    folder.mkdir()
    for name, path in wanted.items():
        shutil.copyfile(path, folder / name)
    user.set(DOCKER_HOST=user.remote.tcp, DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(folder))


def without_client_certificate(user: User) -> None:
    _with_keys(user, {"ca.pem": user.remote.keys / "ca.pem"})


def with_another_client_certificate(user: User) -> None:
    other = _other_ca(user)
    _with_keys(
        user,
        {
            "ca.pem": user.remote.keys / "ca.pem",
            "cert.pem": other / "cert.pem",
            "key.pem": other / "key.pem",
        },
    )


def with_another_ca(user: User) -> None:
    keys = user.remote.keys
    _with_keys(
        user,
        {
            "ca.pem": _other_ca(user) / "ca.crt",
            "cert.pem": keys / "cert.pem",
            "key.pem": keys / "key.pem",
        },
    )


def _other_ca(user: User) -> Path:
    folder = user.config.parent / "other"
    folder.mkdir()
    make_certificate(folder, HOST)
    make_client_certificate(folder)
    return folder


def with_an_unknown_context(user: User) -> None:
    user.set(DOCKER_CONTEXT="nowhere")


def with_a_damaged_context(user: User) -> None:
    user.make_context("far-away", "unix:///nonexistent")
    (described,) = user.config.rglob("meta.json")
    described.write_text("{", encoding="utf-8")
    user.set(DOCKER_CONTEXT="far-away")


def with_a_context_that_lacks_the_certificate(user: User) -> None:
    user.make_context("far-away", user.remote.tcp, user.remote.keys)
    for name in ("cert.pem", "key.pem"):
        (found,) = user.config.rglob(name)
        found.unlink()
    user.set(DOCKER_CONTEXT="far-away")


def with_an_unknown_host_key(user: User) -> None:
    user.use_ssh(known=False)
    user.set(DOCKER_HOST=user.remote.ssh)


def with_a_key_that_is_not_let_in(user: User) -> None:
    user.use_ssh(key=False)
    user.set(DOCKER_HOST=user.remote.ssh)


def with_nothing_behind_ssh(user: User) -> None:
    user.use_ssh()
    user.set(DOCKER_HOST=f"ssh://root@{HOST}:{free_port(HOST)}")


def with_another_socket_behind_ssh(user: User) -> None:
    user.use_ssh()
    user.set(DOCKER_HOST=f"{user.remote.ssh}/nonexistent/docker.sock")


def with_nothing_listening(user: User) -> None:
    user.set(DOCKER_HOST=f"tcp://{HOST}:{free_port(HOST)}")


REFUSED: list[tuple[Callable[[User], None], str]] = [
    (without_tls, r"tcp://127\.0\.0\.1:\d+: it wants TLS\. Set DOCKER_TLS_VERIFY=1"),
    (without_client_certificate, r"it wants a client certificate, and there is none\. Check ca\.pem"),
    (with_another_client_certificate, r"it does not take the client certificate\. Check ca\.pem"),
    (with_another_ca, r"its TLS certificate is not trusted \(.*certificate.*\)\. Check ca\.pem"),
    (with_an_unknown_context, r"The Docker context nowhere cannot be used: there is no such context"),
    (with_a_damaged_context, r"The Docker context far-away cannot be used: its description cannot be read"),
    (
        with_a_context_that_lacks_the_certificate,
        r"tcp://127\.0\.0\.1:\d+ \(context far-away\): it wants a client certificate, and there is none",
    ),
    (with_an_unknown_host_key, r"ssh://root@127\.0\.0\.1:\d+: ssh failed: Host key verification failed\."),
    (
        with_a_key_that_is_not_let_in,
        r"ssh failed: root@127\.0\.0\.1: Permission denied \(publickey.*\)\. See that",
    ),
    (with_nothing_behind_ssh, r"ssh failed: connect to host 127\.0\.0\.1 port \d+: Connection refused\."),
    (with_another_socket_behind_ssh, r"ssh failed: .*nonexistent/docker\.sock"),
    (with_nothing_listening, r"tcp://127\.0\.0\.1:\d+: connection refused\."),
]


@pytest.mark.parametrize(("way", "sentence"), REFUSED, ids=[way.__name__ for way, _ in REFUSED])
def test_an_engine_that_cannot_be_used_is_refused_with_a_sentence(
    way: Callable[[User], None], sentence: str, user: User
) -> None:
    way(user)
    with pytest.raises(EngineError, match=sentence) as caught:
        engines.find()
    assert caught.value.code == "no_engine"
    assert caught.value.hint
