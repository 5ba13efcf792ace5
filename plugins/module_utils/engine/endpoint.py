# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Where an engine may be reached: ``DOCKER_HOST``, Docker contexts, the sockets of this machine.

Source of the rules: docker/cli ``cli/command/cli.go``, ``cli/flags/options.go`` and ``cli/context``.
The docker package reads contexts otherwise: without a config.json it looks for them in the working
directory, it passes over ``DOCKER_CONTEXT``, and it forgets TLS where one of three files is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ..docker_config import docker_config_folder, read_user_config
from ..errors import EngineError
from ..network.tls import Tls

PRIVATE_NAME = "image-builder"
PRIVATE_SOCKET = f"unix:///run/{PRIVATE_NAME}/docker.sock"
DEFAULT_SOCKET = "/var/run/docker.sock"
#: The variables that lead Docker's programs to an engine.
VARIABLES = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")

_CURRENT = "currentContext in Docker's config.json"


@dataclass(frozen=True)
class Endpoint:
    """An engine's address as ``DOCKER_HOST`` has it, with what TLS takes, and the context that names them."""

    url: str
    tls: Optional[Tls] = None
    context: str = ""

    def __str__(self) -> str:
        # A password has no place in it, but may stand there all the same.
        url = re.sub(r"^(\w+://[^/@]*?):[^/@]*@", r"\1:***@", self.url)
        return f"{url} (context {self.context})" if self.context else url

    def variables(self) -> dict[str, str]:
        """Those of ``VARIABLES`` that lead Docker's programs here."""
        # DOCKER_HOST would lead the user's builders on the context "default" there, too.
        if self.context:
            return {"DOCKER_CONTEXT": self.context}
        found = {"DOCKER_HOST": self.url}
        if self.tls is not None:
            found["DOCKER_CERT_PATH"] = self.tls.keys
            found["DOCKER_TLS" if self.tls.insecure else "DOCKER_TLS_VERIFY"] = "1"
        return found

    def unreachable(self, why: str, hint: str = "") -> EngineError:
        """The error of an engine that cannot be asked; ``why`` is a clause."""
        return EngineError("engine_unreachable", f"{self}: {why}.", hint=hint)

    @property
    def is_local(self) -> bool:
        """Whether the engine runs on this machine's kernel."""
        # A context's socket can be that of a virtual machine, with a kernel of its own.
        return self.url.startswith("unix://") and not self.context

    @property
    def is_tls_of_the_environment(self) -> bool:
        """Whether the files for TLS are named by variables, which buildx does not read by itself."""
        return self.tls is not None and not self.context


def own_endpoint() -> Optional[Endpoint]:
    """Where the machine's own engine is; ``None`` without a socket. Raises ``EngineError``."""
    url = os.environ.get("DOCKER_HOST")
    if url:
        return _of_environment(url)
    context = os.environ.get("DOCKER_CONTEXT") or read_user_config().get("currentContext")
    if context and context != "default":
        return of_context(str(context))
    return Endpoint(f"unix://{DEFAULT_SOCKET}") if os.path.exists(DEFAULT_SOCKET) else None


def private_endpoint() -> Optional[Endpoint]:
    """Where the private engine is; ``None`` where the environment names the one engine to use."""
    return None if naming_variable() else Endpoint(PRIVATE_SOCKET)


def naming_variable() -> str:
    """The variable that names the one engine to use; empty where there is none."""
    if os.environ.get("DOCKER_HOST"):
        return "DOCKER_HOST"
    return "DOCKER_CONTEXT" if os.environ.get("DOCKER_CONTEXT") not in (None, "", "default") else ""


def _of_environment(url: str) -> Endpoint:
    verify = bool(os.environ.get("DOCKER_TLS_VERIFY"))
    if not (verify or os.environ.get("DOCKER_TLS")) or not url.startswith("tcp://"):
        return Endpoint(url)
    keys = os.environ.get("DOCKER_CERT_PATH") or docker_config_folder()
    return Endpoint(url, Tls(keys=keys, insecure=not verify))


def of_context(name: str) -> Endpoint:
    """The endpoint of the Docker context ``name``. Raises ``EngineError`` where it cannot be read."""
    folder = os.path.join(docker_config_folder(), "contexts")
    # A folder's name is the digest, so that no name leads anywhere else.
    own = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    try:
        with open(os.path.join(folder, "meta", own, "meta.json"), encoding="utf-8") as file:
            docker = _mapping(_mapping(json.load(file), "Endpoints"), "docker")
    except (OSError, ValueError, RecursionError) as error:
        unknown = isinstance(error, FileNotFoundError)
        why = "there is no such context" if unknown else f"its description cannot be read: {error}"
        what = f"The Docker context {name} cannot be used: {why}."
        hint = f"Check {naming_variable() or _CURRENT}; docker context ls lists all contexts."
        raise EngineError("engine_unreachable", what, hint=hint) from None
    url = str(docker.get("Host") or f"unix://{DEFAULT_SOCKET}")
    tls = Tls(keys=os.path.join(folder, "tls", own, "docker"), insecure=bool(docker.get("SkipTLSVerify")))
    has_keys = any(map(tls.file, ("ca.pem", "cert.pem", "key.pem")))
    uses_tls = url.startswith("tcp://") and (tls.insecure or has_keys)
    return Endpoint(url, tls if uses_tls else None, name)


def _mapping(content: Any, key: str) -> Mapping[str, Any]:
    value = content.get(key) if isinstance(content, dict) else None
    return value if isinstance(value, dict) else {}
