# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""As whom a request speaks to registries, and which addresses it may reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ..docker_config import read_user_config
from ..document.target import RegistryAccount
from ..engine.find import Engine
from ..policy import PERMISSIVE, Policy, Reach, everywhere
from ..registry.client import Registry
from ..registry.credentials import Credentials, Login
from ..registry.hosts import RegistryHosts
from ..secret import Secret


@dataclass(frozen=True)
class Access:
    """The document's ``logins`` by host, the user's Docker configuration, and all ``secrets`` to hide.

    ``reach`` says which addresses may be connected to.
    """

    logins: Mapping[str, Login]
    user_config: Mapping[str, Any]
    secrets: tuple[Secret, ...]
    reach: Reach = everywhere

    @classmethod
    def of(
        cls, account: RegistryAccount, secrets: tuple[Secret, ...] = (), policy: Policy = PERMISSIVE
    ) -> Access:
        """Access for the account of a document; ``secrets`` are what else must be hidden.

        The user's own logins count where ``policy`` allows it.
        """
        logins = {}
        if account.username and account.password:
            logins[account.host] = Login(account.username, account.password)
            secrets = (*secrets, account.password)
        user_config = read_user_config() if policy.own_settings else {}
        return cls(logins, user_config, secrets, policy.reach)

    def registry(self, engine: Optional[Engine], retry_for: float = 60.0) -> Registry:
        """A client that sees registries as ``engine`` does, or as an engine with default settings.

        Temporary failures are tried again for ``retry_for`` seconds.
        """
        config = engine.info.get("RegistryConfig") if engine else None
        return Registry(
            RegistryHosts.from_engine(config),
            Credentials(self.logins, self.user_config),
            retry_for=retry_for,
            reach=self.reach,
        )
