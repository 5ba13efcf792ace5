# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Debian packages fetched and verified by apt, of any release and architecture, and never installed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

from ..errors import MachineError
from . import commands
from .apt_sources import POCKETS, codename, sources

#: What Debian calls the architectures of the OCI world, by OCI's name with its variant.
DEBIAN_ARCHITECTURES: Mapping[str, str] = {
    "386": "i386",
    "amd64": "amd64",
    "arm": "armhf",
    "arm/v5": "armel",
    "arm/v6": "armel",
    "arm/v7": "armhf",
    "arm64": "arm64",
    "mips64le": "mips64el",
    "ppc64le": "ppc64el",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
# Hundreds of megabytes over a slow line take long; only what hangs takes as long as this.
_SECONDS = 3600.0


def debian_architecture(platform: str) -> str:
    """Debian's name for the architecture of ``linux/arm/v7`` and its like. Raises ``MachineError``."""
    name = platform.split("/", 1)[-1]
    try:
        return DEBIAN_ARCHITECTURES[name]
    except KeyError:
        raise MachineError(
            "no_debian_architecture",
            f"Debian has no packages for the platform {platform}.",
            hint="Leave it out of the platforms.",
        ) from None


class Archive:
    """Apt for one architecture with folders of its own, which go when the ``with`` block ends.

    The packages are those of ``suite``, a release's code name, or of the machine's own release. ``warning``
    says, within the block, why the updates of the release are not taken, if they are not.
    Apt takes much longer for several architectures at once than for one after another.

    ``accept_outdated`` takes a release file whose Valid-Until has passed too, as a mirror that stands still
    has it of a release in the making. Its signature is checked all the same, and apt itself, for all else
    that the machine asks it, stays as strict as it is.
    """

    def __init__(
        self,
        architecture: str,
        suite: Optional[str] = None,
        pockets: Sequence[str] = POCKETS,
        *,
        accept_outdated: bool = False,
    ) -> None:
        own = codename()
        self.suite = suite or own
        self._architecture = architecture
        self._sources = sources(self.suite, own, pockets)
        self._release_only = sources(self.suite, own, POCKETS[:1])
        self._accept_outdated = accept_outdated
        self._work = Path()
        self.warning = ""

    def __enter__(self) -> Archive:
        self._work = Path(tempfile.mkdtemp(prefix="image-builder-apt-"))
        # apt downloads as its own unprivileged user, who must be able to pass.
        self._work.chmod(0o755)
        for folder in ("sources.list.d", "lists/partial", "cache/archives/partial"):
            (self._work / folder).mkdir(parents=True)
        (self._work / "apt.conf").write_text(self._configuration())
        try:
            self._update()
        except BaseException:
            shutil.rmtree(self._work)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._work)

    def download(self, packages: Sequence[str]) -> list[Path]:
        """The files of ``packages``, without what they depend on. Raises ``MachineError``."""
        folder = Path(tempfile.mkdtemp(dir=self._work))
        folder.chmod(0o777)
        self._apt("download", *packages, cwd=folder)
        return sorted(folder.glob("*.deb"))

    def _update(self) -> None:
        listing = self._work / "sources.list.d" / "debian.sources"
        listing.write_text(self._sources)
        try:
            self._apt("update")
        except MachineError as error:
            if self._sources == self._release_only:
                raise
            # Updates are good to have; a mirror that is just being changed still has the release.
            listing.write_text(self._release_only)
            self._apt("update")
            self.warning = f"The packages are those of the release, without its updates. {error}"

    def _configuration(self) -> str:
        lines = [
            f'Dir::State::Lists "{self._work}/lists";',
            f'Dir::Cache "{self._work}/cache";',
            f'Dir::Etc::SourceParts "{self._work}/sources.list.d";',
            'Dir::Etc::SourceList "/dev/null";',
            'Dir::Etc::Preferences "/dev/null";',
            'Dir::Etc::PreferencesParts "/dev/null";',
            'Dir::State::Status "/dev/null";',
            f'APT::Architecture "{self._architecture}";',
            "#clear APT::Architectures;",
            f'APT::Architectures:: "{self._architecture}";',
            # The machine's hooks (screen notices, cache cleaners) concern its own lists only.
            "#clear APT::Update::Pre-Invoke;",
            "#clear APT::Update::Post-Invoke;",
            "#clear APT::Update::Post-Invoke-Success;",
            'APT::Update::Error-Mode "any";',
            'Acquire::Languages "none";',
            'Acquire::Retries "3";',
        ]
        if self._accept_outdated:
            lines.append('Acquire::Check-Valid-Until "false";')
        return "\n".join(lines) + "\n"

    def _apt(self, *arguments: str, cwd: Optional[Path] = None) -> None:
        done = commands.call(
            ["apt-get", "-qq", "-c", str(self._work / "apt.conf"), *arguments],
            cwd=str(cwd or self._work),
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            seconds=_SECONDS,
        )
        if done.status != 0:
            raise MachineError(
                "apt_failed",
                f"apt-get {arguments[0]} of Debian {self.suite} failed: {commands.last_words(done)}",
                hint="The machine does not know the key of that release: update its debian-archive-keyring."
                if "NO_PUBKEY" in done.stderr
                else "Check the machine's apt sources and its network.",
            )


def machine_architecture() -> str:
    """Debian's name for the architecture of this machine. Raises ``MachineError``."""
    return commands.output(["dpkg", "--print-architecture"]).strip()


def unpack(package: Path, dest: Path) -> str:
    """Unpack the file ``package`` into the folder ``dest``, and give its version. Raises ``MachineError``."""
    commands.output(["dpkg-deb", "--extract", str(package), str(dest)], seconds=_SECONDS)
    return commands.output(["dpkg-deb", "--field", str(package), "Version"]).strip()
