#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Unpack Debian packages into a folder of their own."""

from __future__ import annotations

DOCUMENTATION = r"""
module: debian_unpack
short_description: Unpack Debian packages into a folder, without installing them
version_added: 1.0.0
author: SODALITE image-builder developers (@SODALITE-EU)
description:
  - Downloads packages from the Debian archive that the machine's own apt sources name, has apt verify
    them, and unpacks
    them below a folder. Nothing is installed, no maintainer script runs, and the machine's package lists
    stay as they are.
  - Dependencies are not followed.
  - What was unpacked is recorded in C(packages.json) in the folder; packages recorded there are not
    fetched again.
options:
  packages:
    description: Names of the packages.
    type: list
    elements: str
    required: true
  dest:
    description: The folder, created when missing.
    type: path
    required: true
  suite:
    description:
      - Code name of the Debian release to take the packages from.
      - The machine's own release when not given.
    type: str
  platforms:
    description:
      - Platforms such as V(linux/arm/v7) to unpack the packages for, each into its own folder below
        O(dest), such as C(armv7).
      - Then they are those of the release, without its updates.
      - When not given, the packages are those of the machine's own architecture and go into O(dest) itself.
    type: list
    elements: str
attributes:
  check_mode:
    description: Says whether packages would be unpacked; downloads nothing.
    support: full
  platform:
    description: Debian.
    support: full
    platforms: debian
"""

EXAMPLES = r"""
- name: Unpack Docker Engine of Debian 13
  sodalite.image_builder.debian_unpack:
    packages: [docker.io, docker-cli, docker-buildx, containerd]
    suite: trixie
    dest: /opt/image-builder

- name: Unpack a static shell for two platforms
  sodalite.image_builder.debian_unpack:
    packages: [busybox-static]
    platforms: [linux/amd64, linux/arm/v7]
    dest: /tmp/busybox
"""

RETURN = r"""
packages:
  description: Version of each package in the folder, by C(name:architecture).
  returned: always
  type: dict
  sample: {"docker.io:amd64": "26.1.5+dfsg1-9"}
"""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.machine.debian_archive import (
    POCKETS,
    Archive,
    ArchiveError,
    debian_architecture,
    machine_architecture,
    unpack,
)


def _folders(dest: Path, platforms: list[str] | None) -> dict[str, list[Path]]:
    """The folders to unpack each Debian architecture into: one may serve several platforms."""
    if not platforms:
        return {machine_architecture(): [dest]}
    folders: dict[str, list[Path]] = {}
    for platform in platforms:
        name = "".join(platform.split("/")[1:])
        folders.setdefault(debian_architecture(platform), []).append(dest / name)
    return folders


def _fetch(module: AnsibleModule, architecture: str, folders: list[Path]) -> dict[str, str]:
    """Unpack the packages of one architecture into each of ``folders``; their versions."""
    # Updates for every foreign architecture are much to fetch; the release has all that is wanted of them.
    pockets = POCKETS[:1] if module.params["platforms"] else POCKETS
    versions = {}
    with Archive(architecture, module.params["suite"], pockets) as archive:
        if archive.warning:
            module.warn(archive.warning)
        for deb in archive.download(module.params["packages"]):
            for folder in folders:
                folder.mkdir(parents=True, exist_ok=True)
                versions[f"{deb.name.split('_', 1)[0]}:{architecture}"] = unpack(deb, folder)
    return versions


def _save(record: Path, packages: dict[str, str]) -> None:
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps(packages, indent=2, sort_keys=True) + "\n")
    os.replace(partial, record)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "list", "elements": "str", "required": True},
            "dest": {"type": "path", "required": True},
            "suite": {"type": "str"},
            "platforms": {"type": "list", "elements": "str"},
        },
        supports_check_mode=True,
    )
    names, dest = module.params["packages"], Path(module.params["dest"])
    record = dest / "packages.json"
    try:
        present = json.loads(record.read_text()) if record.exists() else {}
        folders = _folders(dest, module.params["platforms"])
        missing = [a for a in folders if not all(f"{name}:{a}" in present for name in names)]
        if missing and not module.check_mode:
            dest.mkdir(parents=True, exist_ok=True)
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                fetched = pool.map(lambda a: _fetch(module, a, folders[a]), missing)
                present.update(item for versions in fetched for item in versions.items())
            # Written last, so that an interrupted run is done again.
            _save(record, present)
    except (ArchiveError, OSError, subprocess.CalledProcessError) as error:
        module.fail_json(msg=f"cannot unpack {', '.join(names)} into {dest}: {error}")
    module.exit_json(changed=bool(missing), packages=present)


if __name__ == "__main__":
    main()
