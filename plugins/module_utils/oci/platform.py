# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Platforms as OCI and BuildKit write them: ``os/architecture[/variant]``."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

_PART = re.compile(r"[A-Za-z0-9_.-]+\Z")
# Source: containerd's platforms package, platforms.go (osRe): a version and features may follow the system.
_SYSTEM = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*(?:\+[A-Za-z0-9_.%-]+)*)\))?\Z")

# Source: containerd's platforms package, database.go (normalizeOS, normalizeArch).
_OS_ALIASES = {"macos": "darwin"}
_ARCHITECTURE_ALIASES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
_DEFAULT_VARIANTS = (("arm64", "8"), ("arm64", "v8"), ("amd64", "v1"))
# Source: the same file, isKnownOS and isKnownArch, which are Go's lists; and what runs WebAssembly there.
_SYSTEMS = frozenset(
    "aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris "  # noqa: SIM905
    "wasi wasip1 windows zos".split()
)
_ARCHITECTURES = frozenset(
    "386 amd64 amd64p32 arm arm64 arm64be armbe loong64 mips mips64 mips64le mips64p32 mips64p32le "  # noqa: SIM905
    "mipsle ppc ppc64 ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm".split()
)


def is_system(text: str) -> bool:
    """Whether ``text`` names an operating system that builders know, and so no architecture."""
    name = text.lower()
    return _OS_ALIASES.get(name, name) in _SYSTEMS


@dataclass(frozen=True, order=True)
class Platform:
    """A normalised platform; ``str()`` gives the form that BuildKit prints.

    ``os_version`` is what stands in brackets behind the system, as in ``windows(10.0.17763)/amd64``.
    """

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``os/arch[/variant]``, or an architecture alone for Linux.

        Raises ``ValueError`` with one sentence that says what is wrong.
        """
        parts = text.strip().split("/")
        system = _SYSTEM.match(parts[0])
        if not 1 <= len(parts) <= 3 or not system or not all(_PART.match(part) for part in parts[1:]):
            raise ValueError(
                f"{text!r} is not a platform; write os/architecture[/variant], such as linux/arm64"
            )
        version = (system[2] or "") if len(parts) > 1 else ""
        parts = [(part if index else system[1]).lower() for index, part in enumerate(parts)]
        if len(parts) == 1:
            if parts[0] not in _ARCHITECTURES and parts[0] not in _ARCHITECTURE_ALIASES:
                raise ValueError(
                    f"{text!r} is not a platform; write os/architecture[/variant], such as linux/arm64"
                )
            parts.insert(0, "linux")
        os, architecture = parts[0], parts[1]
        variant = parts[2] if len(parts) == 3 else ""
        os = _OS_ALIASES.get(os, os)
        architecture, default = _ARCHITECTURE_ALIASES.get(architecture, (architecture, ""))
        variant = variant or default
        if architecture == "arm":
            variant = variant or "v7"
            if variant[0].isdigit():
                variant = "v" + variant
        elif (architecture, variant) in _DEFAULT_VARIANTS:
            variant = ""
        return cls(os, architecture, variant, version)

    @classmethod
    def parse_known(cls, text: str) -> Platform:
        """Read a platform as ``parse`` does, and refuse what no builder knows, such as ``linux/amd46``.

        Raises ``ValueError`` with one sentence that says what is wrong.
        """
        made = cls.parse(text)
        if made.os_version:
            raise ValueError(f"{text!r} has a version of the system; write it without, as in windows/amd64")
        for part, known, what in (
            (made.os, _SYSTEMS, "operating system"),
            (made.architecture, _ARCHITECTURES, "architecture"),
        ):
            if part not in known:
                near = difflib.get_close_matches(part, sorted(known), 1)
                hint = f"did you mean {near[0]!r}?" if near else "write it as in linux/arm64"
                raise ValueError(
                    f"{text!r} is not a platform: {part!r} is no {what} that builders know; {hint}"
                )
        return made

    @property
    def fitting(self) -> tuple[Platform, ...]:
        """The platforms whose images BuildKit takes for this one, the best first.

        Source: containerd's platforms package, compare.go (platformVector).
        """
        if self.os_version:
            # A list of platforms tells images of one system apart by it only with what is no part of ours.
            return Platform(self.os, self.architecture, self.variant).fitting
        number = int(self.variant[1:]) if self.variant[1:].isdigit() else 0
        if self.architecture == "amd64":
            lower = [f"v{n}" for n in range(number - 1, 1, -1)]
            variants = dict.fromkeys((self.variant, *lower, ""))
            return (*(Platform(self.os, "amd64", v) for v in variants), Platform(self.os, "386"))
        if self.architecture == "arm":
            return tuple(Platform(self.os, "arm", f"v{n}") for n in range(number, 4, -1)) or (self,)
        if self.architecture == "arm64" and not self.variant:
            return (self, *Platform(self.os, "arm", "v8").fitting)
        return (self,)

    def __str__(self) -> str:
        system = f"{self.os}({self.os_version})" if self.os_version else self.os
        text = f"{system}/{self.architecture}"
        return f"{text}/{self.variant}" if self.variant else text
