# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Who logs in to which registry: the document's accounts, and the user's Docker configuration.

Nothing here writes to the user's configuration. Source of the rules, by which BuildKit logs in too:
docker/cli ``cli/config/configfile`` and ``cli/config/credentials``, and docker-credential-helpers.

The docker package's ``auth`` and ``credentials`` follow others (docker 5.0 to 7.2): an empty helper leads to
credsStore and not to auths; what a helper does not know is looked up in auths; one damaged entry of auths
ends the reading of all; an entry's own username and password count for nothing; registry-1.docker.io is not
Docker Hub. They repeat a helper's words, which may be a secret, and wait for it without an end.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ..errors import RegistryError
from ..oci.reference import DOCKER_HUB
from ..process import run
from ..secret import Secret

#: The name under which Docker keeps the login of Docker Hub.
DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_DOCKER_HUB_HOSTS = frozenset((DOCKER_HUB, "index.docker.io", "registry-1.docker.io"))
_IDENTITY_TOKEN_USER = "<token>"
_HELPER_SECONDS = 30.0


@dataclass(frozen=True)
class Login:
    """An account of one registry.

    The user ``<token>`` marks the password as an identity token (an OAuth2 refresh token),
    as the credential helpers do.
    """

    username: str
    password: Secret

    @property
    def is_identity_token(self) -> bool:
        """Whether the password is an identity token."""
        return self.username == _IDENTITY_TOKEN_USER

    @property
    def basic(self) -> str:
        """``username:password`` in Base64, for HTTP's Basic scheme and for ``auths``."""
        return base64.b64encode(f"{self.username}:{self.password.reveal()}".encode()).decode()


class Credentials:
    """The logins for registries, asked by host; may be used by several threads.

    ``logins`` (``host[:port]`` to ``Login``) win over ``user_config``, the content of the
    user's ``config.json``. A login is only ever given out for the host it belongs to.
    """

    def __init__(
        self, logins: Optional[Mapping[str, Login]] = None, user_config: Optional[Mapping[str, Any]] = None
    ) -> None:
        self._user_config = user_config or {}
        self._known: dict[str, Optional[Login]] = {
            registry_of(host): login for host, login in (logins or {}).items()
        }
        self._lock = threading.Lock()

    def login(self, host: str) -> Optional[Login]:
        """The login for ``host[:port]``, or ``None`` where there is none.

        Raises ``RegistryError`` (``registry_unauthorized``) where the user's credential
        helper for this host fails: BuildKit would fail on it too.
        """
        registry = registry_of(host)
        with self._lock:
            if registry not in self._known:
                self._known[registry] = _from_user_config(self._user_config, registry)
            return self._known[registry]

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """The passwords given out so far, and as HTTP sends them, to keep them out of messages."""
        logins = [login for login in list(self._known.values()) if login]
        return tuple(secret for login in logins for secret in (login.password, Secret(login.basic)))


def registry_of(key: str) -> str:
    """The registry (``host[:port]``) that a host or a key of ``auths`` stands for.

    ``auths`` keys may be URLs; all names of Docker Hub give ``docker.io``.
    """
    host = key.partition("://")[2] or key
    host = host.partition("/")[0].lower()
    return DOCKER_HUB if host in _DOCKER_HUB_HOSTS else host


def docker_config(logins: Mapping[str, Login], user_config: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a build's own ``config.json``.

    The user's logins, helpers and proxies are carried over, so that base images can come
    from wherever the user is logged in; ``logins`` (by ``host[:port]``) win over them.
    The result holds secrets.
    """
    given = {registry_of(host): login for host, login in logins.items()}
    auths, helpers = (
        {key: entry for key, entry in _mapping(user_config, name).items() if registry_of(key) not in given}
        for name in ("auths", "credHelpers")
    )
    store = user_config.get("credsStore")
    for registry, login in given.items():
        key = _config_key(registry)
        auths[key] = (
            {"identitytoken": login.password.reveal()} if login.is_identity_token else {"auth": login.basic}
        )
        if store:
            # An empty helper is how Docker is told to look into auths in spite of credsStore.
            helpers[key] = ""
    rest = {"credHelpers": helpers, "credsStore": store, "proxies": user_config.get("proxies")}
    return {"auths": auths, **{key: value for key, value in rest.items() if value}}


def _config_key(registry: str) -> str:
    return DOCKER_HUB_KEY if registry == DOCKER_HUB else registry


def _mapping(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _from_user_config(config: Mapping[str, Any], registry: str) -> Optional[Login]:
    key = _config_key(registry)
    helper = _mapping(config, "credHelpers").get(key, config.get("credsStore"))
    if isinstance(helper, str) and helper:
        return _from_helper(helper, key)
    auths = _mapping(config, "auths")
    for name in (key, *(name for name in auths if registry_of(name) == registry)):
        login = _from_auth(auths.get(name))
        if login is not None:
            return login
    return None


def _from_auth(entry: Any) -> Optional[Login]:
    if not isinstance(entry, dict):
        return None
    if entry.get("identitytoken"):
        return Login(_IDENTITY_TOKEN_USER, Secret(str(entry["identitytoken"])))
    if entry.get("auth"):
        try:
            text = base64.b64decode(str(entry["auth"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        username, _, password = text.partition(":")
        return Login(username, Secret(password.strip("\0")))
    if entry.get("username") and entry.get("password"):
        return Login(str(entry["username"]), Secret(str(entry["password"])))
    return None


def _from_helper(name: str, key: str) -> Optional[Login]:
    """Ask ``docker-credential-NAME``. It prints JSON with ``Username`` and ``Secret``."""
    program = f"docker-credential-{name}"
    try:
        if os.sep in name:
            raise OSError("its name is not one of a program")
        result = run([program, "get"], stdin=key, timeout=_HELPER_SECONDS)
        # Helpers report on standard output. Their other words may hold a secret, so they are not repeated.
        if result.status == 0:
            answer = json.loads(result.stdout)
            username, password = answer["Username"], answer["Secret"]
            return Login(str(username), Secret(str(password))) if username or password else None
        if "credentials not found" in result.stdout:
            return None
        why = f"exit status {result.status}"
    except OSError as error:
        why = error.strerror or str(error)
    except subprocess.TimeoutExpired:
        why = f"no answer within {_HELPER_SECONDS:.0f} seconds"
    except (ValueError, KeyError, TypeError):
        why = "its answer is not understood"
    raise RegistryError(
        "registry_unauthorized",
        f"The credential helper {program} gave no login for {registry_of(key)}: {why}.",
        hint="Repair the helper, or take it out of credHelpers and credsStore in Docker's config.json.",
    )
