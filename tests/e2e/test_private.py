# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Private repositories and registries: credentials arrive in every form, and stay where they belong.

After each test the fixture ``machine`` searches process arguments, files and output for them.
"""

from __future__ import annotations

import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import GitSite
from tests.support.engine import Engine
from tests.support.files import file_server
from tests.support.images import Image
from tests.support.leaks import new_secret
from tests.support.payloads import document
from tests.support.registry import Registry
from tests.support.run import DOORS, Machine

Give = Callable[[str, str], Any]


@pytest.fixture
def give(machine: Machine, request: pytest.FixtureRequest) -> Give:
    """Gives a password in the form that the test is parametrised with, under a name."""
    form = request.param

    def given(name: str, password: str) -> Any:
        if form == "text":
            return password
        if form == "env":
            machine.environment[name] = password
            return {"env": name}
        file = machine.own_file(name, password + "\n")
        return {"file": str(file)}

    return given


def private_document(git: GitSite, registry: Registry, give: Give) -> dict[str, Any]:
    username, password = git.account
    source = {
        "url": f"{git.private}/generic-repo-2",
        "username": username,
        "password": give("GIT_PASSWORD", password),
        "dockerfile": "docker_dir/Dockerfile",
        "workdir": "code_dir",
    }
    made = document(registry, source, {"image": "private/app", "tag": "1"})
    made["target"]["registry"]["password"] = give("REGISTRY_PASSWORD", registry.password)
    return made


@pytest.mark.parametrize(
    ("door", "give"),
    [
        ("ansible-playbook", "text"),
        ("ansible-playbook", "env"),
        ("ansible-playbook", "file"),
        ("opera", "text"),
        ("opera", "env"),
        ("opera", "file"),
    ],
    indirect=["give"],
)
def test_a_private_repository_is_built_into_a_private_registry(
    door: str,
    give: Give,
    machine: Machine,
    git: GitSite,
    private_registry: Registry,
    engine: Engine,
) -> None:
    machine.secrets += [git.account[1], private_registry.password]
    wanted = private_document(git, private_registry, give)
    (reported,) = machine.build_ok(door, wanted, *(["-vvv"] if door == "ansible-playbook" else []))

    image = Image(engine, private_registry, "private/app", "1")
    assert image.digest == reported["digest"]
    assert image.read("/code/main.py") == "print('generic-repo-2')\n"


@pytest.mark.parametrize("door", DOORS)
def test_a_repository_is_fetched_over_ssh_with_a_key(
    door: str, machine: Machine, git: GitSite, private_registry: Registry, engine: Engine
) -> None:
    machine.secrets.append(private_registry.password)
    source = {
        "url": f"{git.ssh}/generic_repo.git",
        "ssh_key_file": str(git.ssh_key),
        "ssh_known_hosts_file": str(git.ssh_known_hosts),
    }
    made = document(private_registry, source, {"image": "private/ssh", "tag": door})
    machine.build_ok(door, made)

    assert (
        Image(engine, private_registry, "private/ssh", door).read("/app/app.py") == "print('generic_repo')\n"
    )


@pytest.mark.parametrize("door", DOORS)
def test_a_wrong_password_of_the_repository_is_named_as_the_cause(
    door: str, machine: Machine, git: GitSite, private_registry: Registry
) -> None:
    wrong = new_secret()
    machine.secrets += [wrong, private_registry.password]
    source = {"url": f"{git.private}/generic-repo-2", "username": git.account[0], "password": wrong}
    machine.build_fails(
        door,
        document(private_registry, source, {"image": "private/app"}),
        f"{git.private}/generic-repo-2",
        "password",
    )


@pytest.mark.parametrize("door", DOORS)
def test_a_wrong_password_of_the_registry_is_named_as_the_cause(
    door: str, machine: Machine, git: GitSite, private_registry: Registry
) -> None:
    wrong = new_secret()
    machine.secrets.append(wrong)
    made = document(
        private_registry, {"url": f"{git.public}/generic_repo.git"}, {"image": "private/refused", "tag": "1"}
    )
    made["target"]["registry"]["password"] = wrong
    machine.build_fails(door, made, private_registry.address, "password")
    assert "private/refused" not in private_registry.repositories()


@pytest.mark.parametrize("name", ["app.tar", "no-such.tar"])
def test_a_token_in_the_address_of_a_file_is_not_shown(
    name: str, machine: Machine, engine: Engine, tmp_path: Path
) -> None:
    token = uuid.uuid4().hex
    machine.secrets.append(token)
    served = tmp_path / "served"
    served.mkdir()
    (served / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n", encoding="utf-8")
    with tarfile.open(served / f"app.tar?token={token}", "w") as archive:
        archive.add(served / "Dockerfile", "Dockerfile")
    with file_server(served) as server:
        url = f"{server.url}/{name}"
        made = document(Registry(engine.registry), {}, {"image": "private/query"})
        made["source"] = {"tar": {"url": f"{url}?token={token}"}}
        outcome = machine.build("ansible-playbook", made, "-vvv")
    assert (outcome.status == 0) == (name == "app.tar"), outcome.output
    assert f"{url}?********" in outcome.stdout, outcome.output


def test_a_missing_variable_or_file_of_a_password_is_named(
    machine: Machine, git: GitSite, private_registry: Registry
) -> None:
    machine.secrets.append(private_registry.password)
    made = document(
        private_registry,
        {"url": f"{git.private}/generic-repo-2", "username": "u", "password": {"env": "NO_SUCH_VARIABLE"}},
        {"image": "private/app"},
    )
    made["target"]["registry"]["password"] = {"file": "/no/such/file"}
    machine.build_fails(
        "ansible-playbook",
        made,
        "source.git_repo.password: the environment variable NO_SUCH_VARIABLE is not set",
        "target.registry.password: the file /no/such/file cannot be read",
    )


def test_a_registry_with_an_unknown_certificate_is_refused(
    machine: Machine, git: GitSite, untrusted_registry: Registry
) -> None:
    machine.secrets.append(untrusted_registry.password)
    made = document(untrusted_registry, {"url": f"{git.public}/generic_repo.git"}, {"image": "private/app"})
    machine.build_fails("ansible-playbook", made, untrusted_registry.address, "certificate")
    assert untrusted_registry.repositories() == []
