# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Debian packages unpacked beside the system: fetched and verified by apt, never installed.

The archive's address and key are those of the machine's own apt sources. Only the release
is exchanged where another one is asked for, so a mirror or a proxy that the machine uses
is used here too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

# What Debian calls the architectures of the OCI world.
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
_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+.*\bmain\b")
POCKETS = ("", "-updates", "-security")


class ArchiveError(Exception):
    """The archive could not be used; the text says why and what to do."""


def debian_architecture(platform: str) -> str:
    """Debian's name for ``linux/arm/v7`` and its like."""
    name = platform.split("/", 1)[-1]
    try:
        return DEBIAN_ARCHITECTURES[name]
    except KeyError:
        raise ArchiveError(f"Debian has no packages for the platform {platform}") from None


def codename(os_release: Path = Path("/etc/os-release")) -> str:
    match = re.search(r'^VERSION_CODENAME="?([\w.-]+)', os_release.read_text(), re.MULTILINE)
    if match is None:
        raise ArchiveError(f"{os_release} names no VERSION_CODENAME, so this is no release of Debian")
    return match.group(1)


def _translate(suite: str, own: str, wanted: str, pockets: Sequence[str]) -> Optional[str]:
    """The suite ``bookworm-security`` of another release, or None when it is not one of ``own``."""
    for name in (own, "stable", "oldstable"):
        for pocket in pockets:
            if suite == name + pocket:
                return wanted + pocket
    return None


def _is_distribution(uri: str, signed_by: str) -> bool:
    """Third parties use the release's name as well, so the name alone proves nothing."""
    return uri.rstrip("/").rsplit("/", 1)[-1].startswith("debian") or "debian-archive" in signed_by


def _fields(paragraph: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t") and name:
            fields[name] += "\n" + line
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def _from_deb822(text: str, own: str, wanted: str, pockets: Sequence[str]) -> list[str]:
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        fields = _fields(paragraph)
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        suites = [
            s for s in (_translate(s, own, wanted, pockets) for s in fields.get("suites", "").split()) if s
        ]
        uris = [u for u in fields.get("uris", "").split() if _is_distribution(u, fields.get("signed-by", ""))]
        if not suites or not uris:
            continue
        fields.update(
            {"types": "deb", "uris": " ".join(uris), "suites": " ".join(suites), "components": "main"}
        )
        # The machine's own restriction would hide the foreign architectures.
        fields.pop("architectures", None)
        found.append("\n".join(f"{name.title()}: {value}" for name, value in fields.items()))
    return found


def _from_one_line(text: str, own: str, wanted: str, pockets: Sequence[str]) -> list[str]:
    found = []
    for line in text.splitlines():
        match = _ONE_LINE.match(line.split("#", 1)[0].strip())
        if match is None:
            continue
        options = dict(o.split("=", 1) for o in (match["options"] or "").split() if "=" in o)
        options.pop("arch", None)
        suite = _translate(match["suite"], own, wanted, pockets)
        if suite is None or not _is_distribution(match["uri"], options.get("signed-by", "")):
            continue
        fields = {"Types": "deb", "URIs": match["uri"], "Suites": suite, "Components": "main"}
        fields.update({name.title(): value.replace(",", " ") for name, value in options.items()})
        found.append("\n".join(f"{name}: {value}" for name, value in fields.items()))
    return found


def sources(wanted: str, own: str, pockets: Sequence[str] = POCKETS, etc: Path = Path("/etc/apt")) -> str:
    """The machine's sources of its own release, as a ``.sources`` file for the release ``wanted``."""
    found: list[str] = []
    parts = etc / "sources.list.d"
    for path in [etc / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            found += _from_one_line(path.read_text(), own, wanted, pockets)
    for path in sorted(parts.glob("*.sources")):
        found += _from_deb822(path.read_text(), own, wanted, pockets)
    if not found:
        raise ArchiveError(
            f"the apt sources under {etc} name no archive of Debian {own}; add one, "
            f"or install Docker Engine 26 and buildx 0.13 or newer yourself"
        )
    return "\n\n".join(found) + "\n"


class Archive:
    """Apt for one architecture with folders of its own, which go when the ``with`` block ends.

    Apt takes much longer for several architectures at once than for one after another.
    """

    def __init__(
        self, architecture: str, suite: Optional[str] = None, pockets: Sequence[str] = POCKETS
    ) -> None:
        own = codename()
        self.suite = suite or own
        self._architecture = architecture
        self._sources = sources(self.suite, own, pockets)
        self._release_only = sources(self.suite, own, POCKETS[:1])
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
        folder = Path(tempfile.mkdtemp(dir=self._work))
        folder.chmod(0o777)
        self._apt("download", *packages, cwd=folder)
        return sorted(folder.glob("*.deb"))

    def _update(self) -> None:
        listing = self._work / "sources.list.d" / "debian.sources"
        listing.write_text(self._sources)
        try:
            self._apt("update")
        except ArchiveError as error:
            if self._sources == self._release_only:
                raise
            # Updates are good to have; a mirror that is just being changed still has the release.
            listing.write_text(self._release_only)
            self._apt("update")
            self.warning = f"taken from the release alone, without updates: {error}"

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
        return "\n".join(lines) + "\n"

    def _apt(self, *arguments: str, cwd: Optional[Path] = None) -> None:
        command = ["apt-get", "-qq", "-c", str(self._work / "apt.conf"), *arguments]
        done = subprocess.run(
            command,
            cwd=str(cwd or self._work),
            env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        if done.returncode != 0:
            hint = ""
            if "NO_PUBKEY" in done.stderr:
                hint = (
                    "; the machine does not know the key of that release: update its debian-archive-keyring"
                )
            raise ArchiveError(
                f"apt-get {arguments[0]} of Debian {self.suite} failed: {done.stderr.strip()}{hint}"
            )


def machine_architecture() -> str:
    return subprocess.run(
        ["dpkg", "--print-architecture"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


def unpack(package: Path, dest: Path) -> str:
    """Unpack one package; its version."""
    subprocess.run(["dpkg-deb", "--extract", str(package), str(dest)], check=True)
    return subprocess.run(
        ["dpkg-deb", "--field", str(package), "Version"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()
