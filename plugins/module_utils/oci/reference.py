# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Image references, split and normalised as Docker and BuildKit do it.

Rules: the distribution project's reference grammar; ``docker.io`` is the registry of
a reference that names none, ``library/`` the folder of its one-word repositories.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Optional

DOCKER_HUB = "docker.io"

_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST = re.compile(r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})\Z")
_IDENTIFIER = re.compile(r"[0-9a-f]{64}\Z")
# DNS has no longer labels (RFC 1035), and Python's resolver raises what is no OSError for them.
_LABEL = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]{0,61}[A-Za-z0-9])"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::([0-9]{{1,5}}))?\Z")
# Docker takes a host that has the form of a folder, such as a_b.example, as well: there it is both.
_UNUSUAL_HOST = re.compile(rf"(?=[^.]{{1,63}}(?:\.[^.]{{1,63}})*\Z){_PATH_PART}\Z")
_LONGEST_NAME = 255


def is_repository_path(text: str) -> bool:
    """Whether ``text`` is a repository's path within a registry, such as ``team/app``."""
    return len(text) <= _LONGEST_NAME and bool(_PATH.match(text))


def is_tag(text: str) -> bool:
    """Whether ``text`` is a tag by the OCI distribution specification."""
    return bool(_TAG.match(text))


def is_registry_host(text: str) -> bool:
    """Whether ``text`` is ``host`` or ``host:port`` of a registry."""
    match = _HOST.match(text)
    return match is not None and (match[1] is None or 0 < int(match[1]) < 65536)


@dataclass(frozen=True)
class Reference:
    """``registry/repository[:tag][@digest]`` in its full form.

    ``registry`` is ``host[:port]``; ``repository`` includes ``library/`` where Docker Hub
    implies it. A reference without a tag and a digest has the tag ``latest``.
    """

    registry: str
    repository: str
    tag: Optional[str] = None
    digest: Optional[str] = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference as ``docker pull`` would. Raises ``ValueError`` with a sentence."""
        name, _, digest = text.partition("@")
        if "@" in text and not _DIGEST.match(digest):
            raise ValueError(f"{text!r} is not an image reference: {digest!r} is not a digest")
        head, slash, rest = name.partition("/")
        if slash and ("." in head or ":" in head or head == "localhost" or head != head.lower()):
            registry, path = head, rest
        else:
            registry, path = DOCKER_HUB, name
        path, colon, tag = path.partition(":")
        if colon and not is_tag(tag):
            raise ValueError(f"{text!r} is not an image reference: {tag!r} is not a tag")
        if _IDENTIFIER.match(text):
            raise ValueError(f"{text!r} is not an image reference but an image's identifier")
        if registry == "index.docker.io":
            registry = DOCKER_HUB
        if registry == DOCKER_HUB and "/" not in path:
            path = f"library/{path}"
        if not is_registry_host(registry) and not _UNUSUAL_HOST.match(registry):
            raise ValueError(f"{text!r} is not an image reference: {registry!r} is not a registry")
        if not is_repository_path(path):
            raise ValueError(
                f"{text!r} is not an image reference: a repository is lower-case letters, digits, "
                "and single separators (. _ __ -) between them"
            )
        if not colon and not digest:
            tag = "latest"
        return cls(registry, path, tag or None, digest or None)

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar(self) -> str:
        """The short form people write: no ``docker.io/``, no ``library/``, no ``:latest``."""
        name = self.name
        if self.registry == DOCKER_HUB:
            name = self.repository.removeprefix("library/")
        if self.tag and not (self.tag == "latest" and not self.digest):
            name += f":{self.tag}"
        return f"{name}@{self.digest}" if self.digest else name

    def with_digest(self, digest: str) -> Reference:
        """The same reference, pinned to ``digest``."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        text = self.name
        if self.tag:
            text += f":{self.tag}"
        return f"{text}@{self.digest}" if self.digest else text
