# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What a registry holds for a reference, and what an image says when it runs."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.engine import Engine
from tests.support.http import encoded_account
from tests.support.registry import Registry

_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
# What `uname -m` may say: the kernel's own word on 386, where a 64-bit kernel serves 32-bit programs,
# and the emulated processor's on arm, where an ARMv6 program finds an ARMv7 processor.
MACHINES = {
    "linux/amd64": {"x86_64"},
    "linux/386": {"x86_64", "i686"},
    "linux/arm64": {"aarch64"},
    "linux/ppc64le": {"ppc64le"},
    "linux/s390x": {"s390x"},
    "linux/arm/v7": {"armv7l", "armv8l", "aarch64"},
    "linux/arm/v6": {"armv6l", "armv7l", "armv8l", "aarch64"},
}
# What tells apart what uname does not: the ELF header's class, byte order and machine, and for 32-bit ARM
# the float ABI (EF_ARM_ABI_FLOAT_SOFT and _HARD): Debian's armel serves v6, its armhf v7.
_BINARIES = {
    "linux/amd64": (64, "little", 62),
    "linux/386": (32, "little", 3),
    "linux/arm64": (64, "little", 183),
    "linux/ppc64le": (64, "little", 21),
    "linux/s390x": (64, "big", 22),
    "linux/arm/v7": (32, "little", 40, "hard"),
    "linux/arm/v6": (32, "little", 40, "soft"),
}


@dataclass(frozen=True)
class Image:
    """A pushed image: ``repository`` and ``tag`` (or digest) in ``registry``."""

    engine: Engine
    registry: Registry
    repository: str
    tag: str = "latest"

    @property
    def reference(self) -> str:
        """The image as ``docker pull`` takes it."""
        separator = "@" if ":" in self.tag else ":"
        return f"{self.registry.address}/{self.repository}{separator}{self.tag}"

    def manifest(self, digest: str = "") -> tuple[str, dict[str, Any]]:
        """The digest and the content of the tag's index or manifest, or of that with ``digest``."""
        headers, body = self.registry.get(f"{self.repository}/manifests/{digest or self.tag}", _MANIFESTS)
        return headers["docker-content-digest"], json.loads(body)

    @property
    def digest(self) -> str:
        """What the tag points to."""
        return self.manifest()[0]

    @property
    def annotations(self) -> dict[str, str]:
        """The index's annotations."""
        return dict(self.manifest()[1].get("annotations") or {})

    def platforms(self) -> dict[str, str]:
        """The digest of each platform's manifest (attestations, which run nowhere, left out)."""
        digest, content = self.manifest()
        if "manifests" not in content:
            return {_platform(self.config(digest)): digest}
        return {
            _platform(entry["platform"]): str(entry["digest"])
            for entry in content["manifests"]
            if entry["platform"]["os"] != "unknown"
        }

    def config(self, digest: str = "") -> dict[str, Any]:
        """The image configuration of the manifest with ``digest``, else of the tag's first platform."""
        _, content = self.manifest(digest or next(iter(self.platforms().values())))
        _, body = self.registry.get(f"{self.repository}/blobs/{content['config']['digest']}")
        return dict(json.loads(body))

    def run(self, *command: str, platform: str = "linux/amd64") -> bytes:
        """Run ``command`` in the image as ``platform`` and return what it prints."""
        digest = self.platforms()[platform]
        reference = f"{self.registry.address}/{self.repository}@{digest}"
        with _login(self.registry) as config:
            try:
                return self.engine.docker(
                    *("run", "--rm", "--network=none", "--quiet", f"--platform={platform}"),
                    *("--entrypoint", command[0], reference, *command[1:]),
                    config=config,
                )
            finally:
                self.engine.docker("image", "rm", "--force", reference, config=config, check=False)

    def read(self, path: str, platform: str = "linux/amd64") -> str:
        """The text of a file in the image, as a program running there reads it."""
        return self.run("/bin/busybox", "cat", path, platform=platform).decode()

    def base(self, platform: str = "linux/amd64", mark: str = "/etc/base-mark") -> str:
        """Which of the sample base images the image stands on, such as ``python:3.6-alpine``."""
        return self.read(mark, platform).strip().removeprefix("library/")

    def assert_runs_as(self, platform: str) -> None:
        """Assert that the image's programs are the platform's, and that they run."""
        output = self.run(
            *("/bin/busybox", "sh", "-c", "/bin/busybox uname -m; /bin/busybox head -c 52 /bin/busybox"),
            platform=platform,
        )
        machine, _, header = output.partition(b"\n")
        assert machine.decode() in MACHINES[platform]
        assert _binary(header) == _BINARIES[platform]


def save_oci(engine: Engine, context: Path, archive: Path) -> None:
    """Build the folder ``context`` for two platforms into an OCI ``archive``, as buildx exports it."""
    argv = [engine.buildx, "build", "--platform=linux/amd64,linux/arm64", "--provenance=mode=min"]
    subprocess.run(
        [*argv, f"--output=type=oci,dest={archive}", str(context)],
        env={**os.environ, "DOCKER_HOST": engine.docker_host},
        check=True,
        capture_output=True,
    )


def _platform(entry: dict[str, Any]) -> str:
    parts = [entry["os"], entry["architecture"], entry.get("variant", "")]
    return "/".join(part for part in parts if part).replace("arm64/v8", "arm64")


def _binary(header: bytes) -> tuple[object, ...]:
    assert header[:4] == b"\x7fELF"
    bits = 64 if header[4] == 2 else 32
    order = "little" if header[5] == 1 else "big"
    machine = int.from_bytes(header[18:20], "little" if header[5] == 1 else "big")
    if machine == 40:
        return bits, order, machine, "hard" if header[37] & 0x04 else "soft"
    return bits, order, machine


@contextmanager
def _login(registry: Registry) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        login = {"auth": encoded_account(registry.username, registry.password)}
        auths = {registry.address: login} if registry.username else {}
        (Path(folder) / "config.json").write_text(json.dumps({"auths": auths}), encoding="utf-8")
        yield Path(folder)
