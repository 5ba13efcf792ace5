# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The documents in ``inputs/`` with hosts, accounts, paths and checksums of this machine, else unchanged."""

from __future__ import annotations

import copy
import hashlib
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from image_builder.documents.read import parse
from tests.support.leaks import new_secret
from tests.support.payloads import registry_parameters
from tests.support.registry import Registry, registry
from tests.support.run import DOORS, ROOT, Machine

#: Every example, in both forms.
EXAMPLES = tuple(sorted((ROOT / "inputs").iterdir()))

#: How a document gets in: a door of ``tests.support.run``, and ``json`` or ``yaml``.
Way = tuple[str, str]
WAYS: tuple[Way, ...] = tuple(itertools.product(DOORS, ("json", "yaml")))

Account = tuple[str, str]


@dataclass(frozen=True)
class Server:
    """A folder that is served openly, and once more for who has the ``account``: the two URLs of it."""

    public: str
    private: str
    account: Account

    def named(self, part: dict[str, Any], path: str) -> None:
        """Have ``part`` of a document name ``path`` here, with the account where it gives one."""
        part["url"] = f"{self.private if 'username' in part else self.public}/{path}"
        if "username" in part:
            part["username"], part["password"] = self.account


@dataclass(frozen=True)
class Servers:
    """What stands for the hosts that examples name, and ``root`` for the root folder of the machine.

    Repositories are found by the last part of their address, files (in ``folder``) by the last two.
    """

    git: Server
    files: Server
    folder: Path
    root: Path

    def localized(self, document: dict[str, Any], registry: Callable[[bool], Registry]) -> dict[str, Any]:
        """``document`` for these servers; ``registry(True)`` is one that wants a password."""
        made = copy.deepcopy(document)
        for kind, part in made["source"].items():
            self._source(kind, part)
        account = made["target"]["registry"]
        named, found = account["url"], registry("username" in account)
        made["target"]["registry"] = registry_parameters(found)
        made["target"]["images"] = _references(made["target"]["images"], f"{named}/", f"{found.address}/")
        return made

    def _source(self, kind: str, part: dict[str, Any]) -> None:
        if "path" in part:
            part["path"] = str(self.root / part["path"].lstrip("/"))
        elif not part["url"].startswith("file:"):
            server, parts = (self.files, 2) if kind in ("dockerfile", "tar") else (self.git, 1)
            path = "/".join(part["url"].split("/")[-parts:])
            server.named(part, path)
            if "checksum" in part:
                part["checksum"] = f"sha256:{hashlib.sha256((self.folder / path).read_bytes()).hexdigest()}"


def _references(value: Any, named: str, address: str) -> Any:
    """``value`` with references of the registry ``named`` as those of the one at ``address``."""
    if isinstance(value, dict):
        return {key: _references(item, named, address) for key, item in value.items()}
    if isinstance(value, list):
        return [_references(item, named, address) for item in value]
    if isinstance(value, str) and value.startswith(named):
        return address + value.removeprefix(named)
    return value


def variables(value: Any) -> Iterator[str]:
    """The environment variables that a document takes secrets from."""
    if isinstance(value, dict) and set(value) == {"env"}:
        yield value["env"]
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from variables(item)


class Builds:
    """What the examples become in each way, in registries of that way alone: none finds another's images."""

    def __init__(self, servers: Servers, folder: Path, stack: ExitStack) -> None:
        self._servers = servers
        self._made: dict[tuple[Way, str], list[dict[str, Any]]] = {}
        # All at once, so that none counts as a process that a build left behind.
        self._registries = {}
        for number, (way, private) in enumerate(itertools.product(WAYS, (True, False))):
            account = {"username": "user", "password": new_secret()} if private else {}
            made = stack.enter_context(registry(folder / str(number), **account))
            self._registries[way, private] = made

    def registry(self, way: Way, *, private: bool = True) -> Registry:
        """The registry of ``way`` that wants a password, or the open one."""
        return self._registries[way, private]

    def run(self, machine: Machine, way: Way, name: str) -> list[dict[str, Any]]:
        """Build the example ``name`` once more in ``way``; returns the reported images."""
        example = parse(ROOT / "inputs" / f"{name}.{way[1]}")
        document = self._servers.localized(example, lambda private: self._registries[way, private])
        environment = {variable: new_secret() for variable in variables(document)}
        machine.secrets += [
            *(self.registry(way).password, self._servers.git.account[1], self._servers.files.account[1]),
            *environment.values(),
        ]
        machine.forget_deployment()  # else opera itself would do nothing
        return machine.build_ok(way[0], document, form=way[1], env=environment)

    def images(self, machine: Machine, way: Way, name: str) -> list[dict[str, Any]]:
        """The images that the example ``name`` became in ``way``, built when they are first asked for."""
        if (way, name) not in self._made:
            self._made[way, name] = self.run(machine, way, name)
        return self._made[way, name]
