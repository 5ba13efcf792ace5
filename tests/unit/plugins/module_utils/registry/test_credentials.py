# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Logins of the document and of the user's Docker configuration."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.docker_config import read_user_config
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import RegistryError
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import credentials
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.credentials import (
    DOCKER_HUB_KEY,
    Credentials,
    Login,
    docker_config,
    registry_of,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret

GIVEN = Login("document", Secret("from the document"))


def auth(username: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A credential helper ``test`` on PATH that knows ``known.test`` and ``token.test`` only."""
    program = tmp_path / "docker-credential-test"
    program.write_text(
        "#!/bin/sh\n"
        'read -r server || [ -n "$server" ]\n'
        'echo "$1 $server" >> "$0.log"\n'
        "case $server in\n"
        '  known.test) echo \'{"ServerURL": "x", "Username": "helped", "Secret": "p:w"}\' ;;\n'
        '  token.test) echo \'{"ServerURL": "x", "Username": "<token>", "Secret": "identity"}\' ;;\n'
        '  broken.test) echo "hidden words"; echo "more hidden words" >&2; exit 3 ;;\n'
        '  *) echo "credentials not found in native keychain"; exit 1 ;;\n'
        "esac\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return program


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("https://Quay.test/v1/", "quay.test"),
        ("quay.test:5000", "quay.test:5000"),
    ],
)
def test_all_names_of_a_registry_are_one(key: str, registry: str) -> None:
    assert registry_of(key) == registry


def test_a_login_is_given_out_for_its_own_host_alone() -> None:
    credentials = Credentials({"quay.test": GIVEN})
    assert credentials.login("quay.test") == GIVEN
    for other in ("quay.test:5000", "evil.quay.test", "quay.test.evil", "docker.io"):
        assert credentials.login(other) is None


@pytest.mark.parametrize(
    "key", [DOCKER_HUB_KEY, "docker.io", "index.docker.io", "https://registry-1.docker.io/v2/"]
)
def test_docker_hubs_login_is_found_under_any_of_its_names(key: str) -> None:
    credentials = Credentials(user_config={"auths": {key: auth("me", "pass:word")}})
    assert credentials.login("registry-1.docker.io") == Login("me", Secret("pass:word"))


def test_the_documents_login_wins_over_the_users() -> None:
    credentials = Credentials({"quay.test": GIVEN}, {"auths": {"quay.test": auth("me", "mine")}})
    assert credentials.login("quay.test") == GIVEN


def test_an_identity_token_in_auths_is_known_as_one() -> None:
    credentials = Credentials(user_config={"auths": {"quay.test": {"identitytoken": "identity"}}})
    login = credentials.login("quay.test")
    assert login is not None
    assert login.is_identity_token
    assert login.password == Secret("identity")


@pytest.mark.parametrize(
    "config",
    [
        {"auths": []},
        {"auths": {"quay.test": "text"}},
        {"auths": {"quay.test": {"auth": "no base64!"}}},
        {"auths": {"quay.test": {}}},
        {"credHelpers": 1, "credsStore": None},
    ],
)
def test_a_damaged_configuration_gives_no_login(config: dict[str, object]) -> None:
    assert Credentials(user_config=config).login("quay.test") is None


def test_a_store_is_asked_once_and_only_to_get(helper: Path) -> None:
    credentials = Credentials(user_config={"credsStore": "test", "auths": {"known.test": {}}})
    for _ in range(2):
        assert credentials.login("known.test") == Login("helped", Secret("p:w"))
    assert credentials.login("unknown.test") is None
    assert Path(f"{helper}.log").read_text() == "get known.test\nget unknown.test\n"


def test_a_helper_may_give_an_identity_token(helper: Path) -> None:
    login = Credentials(user_config={"credHelpers": {"token.test": "test"}}).login("token.test")
    assert login is not None
    assert login.is_identity_token


def test_a_hosts_own_helper_wins_over_the_store_and_an_empty_one_leads_to_auths(helper: Path) -> None:
    config = {
        "credsStore": "absent",
        "credHelpers": {"known.test": "test", "plain.test": ""},
        "auths": {"plain.test": auth("me", "mine")},
    }
    assert Credentials(user_config=config).login("known.test") == Login("helped", Secret("p:w"))
    assert Credentials(user_config=config).login("plain.test") == Login("me", Secret("mine"))


@pytest.mark.parametrize(
    ("host", "store", "why"),
    [
        ("broken.test", "test", "exit status 3"),
        ("quay.test", "absent", "No such file"),
        ("quay.test", "../test", "name"),
    ],
)
def test_a_helper_that_fails_is_named_and_its_words_are_not(
    helper: Path, host: str, store: str, why: str
) -> None:
    with pytest.raises(RegistryError, match=why) as raised:
        Credentials(user_config={"credsStore": store}).login(host)
    assert raised.value.code == "registry_unauthorized"
    assert host in str(raised.value)
    assert "hidden" not in str(raised.value)


def test_what_a_helper_does_not_know_is_not_looked_up_in_auths(helper: Path) -> None:
    config = {"credsStore": "test", "auths": {"unknown.test": auth("me", "mine")}}
    assert Credentials(user_config=config).login("unknown.test") is None


def test_a_damaged_entry_does_not_hide_the_others() -> None:
    config = {"auths": {"damaged.test": {"auth": ""}, "quay.test": {"username": "me", "password": "mine"}}}
    credentials = Credentials(user_config=config)
    assert credentials.login("damaged.test") is None
    assert credentials.login("quay.test") == Login("me", Secret("mine"))


def test_a_helper_that_never_answers_is_given_up(helper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper.write_text("#!/bin/sh\nexec sleep 600\n", encoding="utf-8")
    monkeypatch.setattr(credentials, "_HELPER_SECONDS", 0.2)
    with pytest.raises(RegistryError, match="no answer within"):
        Credentials(user_config={"credsStore": "test"}).login("quay.test")


def test_the_users_configuration_is_read_from_where_docker_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert read_user_config() == {}
    (tmp_path / "config.json").write_text('{"credsStore": "x"}')
    assert read_user_config() == {"credsStore": "x"}
    for damaged in ("{", "[]", "[" * 100_000):
        (tmp_path / "config.json").write_text(damaged)
        assert read_user_config() == {}


class TestOwnConfiguration:
    def test_it_holds_the_documents_login(self) -> None:
        config = docker_config({"quay.test:5000": GIVEN}, {})
        assert config == {"auths": {"quay.test:5000": auth("document", "from the document")}}

    def test_docker_hubs_login_has_dockers_key(self) -> None:
        config = docker_config({"docker.io": GIVEN}, {"auths": {"docker.io": auth("me", "mine")}})
        assert config == {"auths": {DOCKER_HUB_KEY: auth("document", "from the document")}}

    def test_it_carries_the_users_logins_and_proxies_and_nothing_else(self) -> None:
        user = {
            "auths": {"other.test": auth("me", "mine")},
            "credHelpers": {"aws.test": "ecr"},
            "proxies": {"default": {"httpProxy": "http://proxy.test"}},
            "currentContext": "far-away",
            "aliases": {"builder": "x"},
        }
        before = json.dumps(user)
        config = docker_config({"quay.test": GIVEN}, user)
        assert config["auths"] == {
            "other.test": auth("me", "mine"),
            "quay.test": auth("document", "from the document"),
        }
        assert set(config) == {"auths", "credHelpers", "proxies"}
        assert json.dumps(user) == before

    def test_the_documents_login_wins_over_the_users_helpers_and_stores(self, helper: Path) -> None:
        user = {
            "auths": {"https://known.test/v1/": auth("me", "mine")},
            "credHelpers": {"known.test": "test"},
            "credsStore": "test",
        }
        config = docker_config({"known.test": GIVEN}, user)
        assert Credentials(user_config=config).login("known.test") == GIVEN
        assert not Path(f"{helper}.log").exists()

    def test_an_identity_token_stays_one(self) -> None:
        config = docker_config({"quay.test": Login("<token>", Secret("identity"))}, {})
        assert config["auths"] == {"quay.test": {"identitytoken": "identity"}}
