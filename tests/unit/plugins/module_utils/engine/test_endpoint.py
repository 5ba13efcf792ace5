# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Where engines are looked for, by the environment and by Docker contexts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import buildx, endpoint, ssh
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine.endpoint import Endpoint
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import EngineError
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.tls import Tls

PRIVATE = Endpoint(endpoint.PRIVATE_SOCKET)


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a Docker configuration, for an environment that names no engine."""
    for name in endpoint.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(endpoint, "DEFAULT_SOCKET", str(tmp_path / "docker.sock"))
    folder = tmp_path / "config"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


def make_context(folder: Path, name: str, host: str, *files: str, skip: bool = False) -> Path:
    """Write a context into the folder of a configuration; gives the folder of its keys."""
    own = hashlib.sha256(name.encode()).hexdigest()
    meta, keys = folder / "contexts" / "meta" / own, folder / "contexts" / "tls" / own / "docker"
    meta.mkdir(parents=True)
    described = {"Host": host, "SkipTLSVerify": skip}
    (meta / "meta.json").write_text(
        json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": described}}), encoding="utf-8"
    )
    for file in files:
        keys.mkdir(parents=True, exist_ok=True)
        (keys / file).touch()
    return keys


def found() -> list[Endpoint]:
    return [one for one in (endpoint.own_endpoint(), endpoint.private_endpoint()) if one is not None]


def test_the_private_engine_comes_last_and_the_default_socket_only_where_it_is() -> None:
    assert found() == [PRIVATE]
    Path(endpoint.DEFAULT_SOCKET).touch()
    assert found() == [Endpoint(f"unix://{endpoint.DEFAULT_SOCKET}"), PRIVATE]


def test_docker_host_wins_over_contexts_and_stands_alone(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "far-away")
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.test:2375")
    assert found() == [Endpoint("tcp://engine.test:2375")]


def test_the_variables_context_wins_over_the_current_one_and_default_is_none(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_context(config, "one", "ssh://one.test")
    make_context(config, "two", "ssh://two.test")
    (config / "config.json").write_text('{"currentContext": "one"}', encoding="utf-8")
    assert found()[0] == Endpoint("ssh://one.test", None, "one")
    monkeypatch.setenv("DOCKER_CONTEXT", "two")
    assert found()[0] == Endpoint("ssh://two.test", None, "two")
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert found() == [PRIVATE]


def test_a_context_that_the_variable_names_stands_alone(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_context(config, "far", "ssh://far.test")
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    assert found() == [Endpoint("ssh://far.test", None, "far")]


def test_a_context_is_never_read_from_the_working_directory(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_context(tmp_path, "planted", "tcp://evil.test:2375")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EngineError, match="no such context") as caught:
        endpoint.of_context("planted")
    assert caught.value.hint


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000])
def test_a_damaged_context_is_refused(config: Path, content: str) -> None:
    make_context(config, "odd", "ssh://one.test")
    (described,) = config.rglob("meta.json")
    described.write_text(content, encoding="utf-8")
    with pytest.raises(EngineError, match="its description cannot be read"):
        endpoint.of_context("odd")


@pytest.mark.parametrize("content", ["[]", '{"Endpoints": []}', '{"Endpoints": {"docker": {}}}'])
def test_a_context_that_names_no_engine_is_that_of_this_machine(config: Path, content: str) -> None:
    make_context(config, "odd", "ssh://one.test")
    (described,) = config.rglob("meta.json")
    described.write_text(content, encoding="utf-8")
    assert endpoint.of_context("odd").url == f"unix://{endpoint.DEFAULT_SOCKET}"


@pytest.mark.parametrize("name", ["../../etc", "", "\udcff", "a/b"])
def test_an_odd_name_of_a_context_is_unknown(name: str) -> None:
    with pytest.raises(EngineError, match="no such context"):
        endpoint.of_context(name)


@pytest.mark.parametrize(
    ("files", "skip", "tls"),
    [
        ((), False, None),
        (("ca.pem",), False, True),
        (("ca.pem", "cert.pem", "key.pem"), False, True),
        ((), True, False),
    ],
)
def test_a_context_has_tls_where_it_has_keys_or_skips_the_check(
    config: Path, files: tuple[str, ...], skip: bool, tls: bool | None
) -> None:
    make_context(config, "far-away", "tcp://engine.test:2376", *files, skip=skip)
    found = endpoint.of_context("far-away")
    assert (found.tls and not found.tls.insecure) == tls


@pytest.mark.parametrize(
    ("variables", "tls"),
    [
        ({}, None),
        ({"DOCKER_CERT_PATH": "/keys"}, None),
        ({"DOCKER_TLS_VERIFY": "", "DOCKER_CERT_PATH": "/keys"}, None),
        ({"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/keys"}, Tls(keys="/keys")),
        ({"DOCKER_TLS": "1", "DOCKER_CERT_PATH": "/keys"}, Tls(keys="/keys", insecure=True)),
        ({"DOCKER_TLS_VERIFY": "1"}, Tls(keys="CONFIG")),
    ],
)
def test_the_variables_say_whether_there_is_tls(
    config: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], tls: Tls | None
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://engine.test:2376")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (one,) = found()
    assert one.tls == (tls and Tls(keys=tls.keys.replace("CONFIG", str(config)), insecure=tls.insecure))


@pytest.mark.parametrize(
    ("one", "variables"),
    [
        (Endpoint("unix:///run/docker.sock"), {"DOCKER_HOST": "unix:///run/docker.sock"}),
        (Endpoint("ssh://far.test", None, "far"), {"DOCKER_CONTEXT": "far"}),
        (Endpoint("tcp://far.test:2376", Tls(keys="/keys"), "far"), {"DOCKER_CONTEXT": "far"}),
        (
            Endpoint("tcp://far.test:2376", Tls(keys="/keys")),
            {"DOCKER_HOST": "tcp://far.test:2376", "DOCKER_CERT_PATH": "/keys", "DOCKER_TLS_VERIFY": "1"},
        ),
        (
            Endpoint("tcp://far.test:2376", Tls(keys="/keys", insecure=True)),
            {"DOCKER_HOST": "tcp://far.test:2376", "DOCKER_CERT_PATH": "/keys", "DOCKER_TLS": "1"},
        ),
    ],
)
def test_buildx_is_led_to_the_engine_that_was_asked_and_to_no_other(
    monkeypatch: pytest.MonkeyPatch, one: Endpoint, variables: dict[str, str]
) -> None:
    for name in endpoint.VARIABLES:
        monkeypatch.setenv(name, "another")
    env = buildx.environment(one)
    assert {name: env[name] for name in endpoint.VARIABLES if name in env} == variables
    # By itself it does not read the variables for TLS.
    as_plugin = "DOCKER_CERT_PATH" in variables
    assert buildx.command("/buildx", one) == (["/buildx", "buildx"] if as_plugin else ["/buildx"])


def test_no_message_shows_a_password() -> None:
    assert str(Endpoint("ssh://me:secret@far.test", None, "far")) == "ssh://me:***@far.test (context far)"


@pytest.mark.parametrize(
    ("url", "end"),
    [
        ("ssh://far.test", ["-T", "--", "far.test", "docker system dial-stdio"]),
        (
            "ssh://me@far.test:22022",
            ["-T", "-l", "me", "-p", "22022", "--", "far.test", "docker system dial-stdio"],
        ),
        (
            "ssh://far.test/run/a socket",
            ["-T", "--", "far.test", "docker --host 'unix:///run/a socket' system dial-stdio"],
        ),
        ("ssh://-oProxyCommand=x", ["-T", "--", "-oProxyCommand=x", "docker system dial-stdio"]),
    ],
)
def test_ssh_asks_for_nothing_and_takes_no_host_for_an_option(url: str, end: list[str]) -> None:
    command = ssh.command(url)
    assert command[-len(end) :] == end
    assert "BatchMode=yes" in command
    assert any(word.startswith("ConnectTimeout=") for word in command)


@pytest.mark.parametrize("url", ["ssh://", "ssh://me:secret@far.test", "ssh://far.test:port", "ssh://h?x=1"])
def test_an_address_that_ssh_does_not_take_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"host|password|more|[Pp]ort"):
        ssh.command(url)
