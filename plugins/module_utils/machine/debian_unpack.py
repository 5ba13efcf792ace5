# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Debian packages unpacked into a folder of their own, with a record of what lies there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..errors import MachineError
from .apt_sources import POCKETS
from .debian_archive import Archive, debian_architecture, machine_architecture, unpack


@dataclass(frozen=True)
class Unpacked:
    """Whether packages were unpacked, or would be, and what lies in the folder now.

    ``versions`` holds the version of each package by ``name:architecture``.
    """

    changed: bool
    versions: Mapping[str, str]
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Packages:
    """The packages ``names`` of the Debian release ``suite``, or of the machine's own release.

    They are those of each of ``platforms`` (``linux/arm/v7``), without the release's updates, or those of the
    machine's own architecture. What they depend on is not among them. ``accept_outdated`` is as in
    ``Archive``.
    """

    names: Sequence[str]
    suite: Optional[str] = None
    platforms: Sequence[str] = ()
    accept_outdated: bool = False

    def unpack_into(self, dest: Path, *, dry_run: bool = False) -> Unpacked:
        """Unpack those that ``packages.json`` in ``dest`` does not name, and name them there.

        With ``platforms``, each has a folder in ``dest``, such as ``armv7``; else ``dest`` itself takes the
        packages. ``dry_run`` fetches nothing. Raises ``MachineError``.
        """
        record = dest / "packages.json"
        versions = _read(record)
        folders = self._folders(dest)
        missing = [a for a in folders if not all(f"{name}:{a}" in versions for name in self.names)]
        warnings: list[str] = []
        if missing and not dry_run:
            dest.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                for fetched in pool.map(lambda a: self._fetch(a, folders[a]), missing):
                    versions.update(fetched.versions)
                    warnings += fetched.warnings
            # Written last, so that an interrupted run is done again.
            _save(record, versions)
        return Unpacked(bool(missing), versions, warnings)

    def _folders(self, dest: Path) -> dict[str, list[Path]]:
        """The folders to unpack each Debian architecture into: one may serve several platforms."""
        if not self.platforms:
            return {machine_architecture(): [dest]}
        folders: dict[str, list[Path]] = {}
        for platform in self.platforms:
            name = "".join(platform.split("/")[1:])
            folders.setdefault(debian_architecture(platform), []).append(dest / name)
        return folders

    def _fetch(self, architecture: str, folders: Sequence[Path]) -> Unpacked:
        """Unpack the packages of one architecture into each of ``folders``."""
        # Updates for every foreign architecture are much to fetch; the release has what is wanted of them.
        pockets = POCKETS[:1] if self.platforms else POCKETS
        versions = {}
        with Archive(architecture, self.suite, pockets, accept_outdated=self.accept_outdated) as archive:
            for deb in archive.download(self.names):
                for folder in folders:
                    folder.mkdir(parents=True, exist_ok=True)
                    versions[f"{deb.name.split('_', 1)[0]}:{architecture}"] = unpack(deb, folder)
            return Unpacked(True, versions, [archive.warning] if archive.warning else [])


def _read(record: Path) -> dict[str, str]:
    if not record.exists():
        return {}
    try:
        versions = json.loads(record.read_text(encoding="utf-8"))
    except ValueError:
        versions = None
    if not isinstance(versions, dict):
        raise MachineError(
            "invalid_record",
            f"The record of unpacked packages {record} is not a mapping.",
            hint=f"Remove {record.parent}, so that they are unpacked again.",
        )
    return versions


def _save(record: Path, versions: Mapping[str, str]) -> None:
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps(versions, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(partial, record)
