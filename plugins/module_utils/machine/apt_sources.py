# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The apt sources of a machine, exchanged for those of another Debian release.

The archive's address and key stay those of the machine's own sources, so a mirror or a proxy
that the machine uses is used for the other release too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from ..errors import MachineError

#: What follows a release's code name in the suites of Debian's archive: the release, its updates.
POCKETS = ("", "-updates", "-security")

_ONE_LINE = re.compile(r"deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+.*\bmain\b")


def codename(os_release: Path = Path("/etc/os-release")) -> str:
    """The code name of the release that this machine runs, such as ``bookworm``.

    Source: os-release(5). Raises ``MachineError`` where there is none.
    """
    match = re.search(r'^VERSION_CODENAME="?([\w.-]+)', os_release.read_text(), re.MULTILINE)
    if match is None:
        raise MachineError(
            "not_debian",
            f"{os_release} names no VERSION_CODENAME, so this machine runs no release of Debian.",
            hint="Install Docker Engine 26 and buildx 0.13, or newer ones, yourself.",
        )
    return match.group(1)


def sources(wanted: str, own: str, pockets: Sequence[str] = POCKETS, etc: Path = Path("/etc/apt")) -> str:
    """The text of a ``.sources`` file for the release ``wanted``, made from the sources of ``own``.

    Only suites of the archive of Debian with one of ``pockets`` count. Source: sources.list(5). Raises
    ``MachineError`` where the apt configuration in ``etc`` names none.
    """
    found: list[str] = []
    parts = etc / "sources.list.d"
    for path in [etc / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            found += _from_one_line(path.read_text(), own, wanted, pockets)
    for path in sorted(parts.glob("*.sources")):
        found += _from_deb822(path.read_text(), own, wanted, pockets)
    if not found:
        raise MachineError(
            "no_debian_archive",
            f"The apt sources under {etc} name no archive of Debian {own}.",
            hint="Add one, or install Docker Engine 26 and buildx 0.13, or newer ones, yourself.",
        )
    return "\n\n".join(found) + "\n"


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
        # Docker's own archive, for one, is named like the distribution's, but has no such component.
        if "main" not in fields.get("components", "").split():
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
