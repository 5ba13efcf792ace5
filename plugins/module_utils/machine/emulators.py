# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Registering emulators with the kernel."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Optional

from ..engine.emulation import ARCHITECTURES, BINFMT, architecture


class EmulationError(Exception):
    """An emulator could not be registered; the text says which and what to do."""


def mount() -> bool:
    """Mount binfmt_misc; whether that was needed."""
    if (BINFMT / "register").exists():
        return False
    done = subprocess.run(
        ["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise EmulationError(f"cannot mount {BINFMT}, which registers emulators: {done.stdout.strip()}")
    return True


def unmount() -> None:
    subprocess.run(["umount", str(BINFMT)], stderr=subprocess.DEVNULL)


def registrations(root: Path) -> dict[str, str]:
    """The registration lines, by QEMU's architecture, of a qemu package unpacked at ``root``."""
    found = {}
    for path in (root / "usr/lib/binfmt.d").glob("qemu-*.conf"):
        line = next((line for line in path.read_text().splitlines() if line.startswith(":")), None)
        if line:
            found[path.stem[len("qemu-") :]] = line
    return found


def register(platform: str, lines: Mapping[str, str], root: Path, prefix: str) -> Optional[str]:
    """Register the emulator for ``platform`` from the package at ``root``; the name of the entry."""
    name = architecture(platform)
    qemu = ARCHITECTURES[name][0] if name in ARCHITECTURES else name
    if qemu not in lines:
        raise EmulationError(
            f"this machine cannot run {platform}, and its distribution's qemu brings no emulator for it; "
            f"leave it out of the platforms, or register one for {qemu} yourself"
        )
    entry = f"{prefix}-{qemu}"
    _, _, kind, offset, magic, mask, interpreter, flags = lines[qemu].split(":")
    path = root / interpreter.lstrip("/")
    if not path.exists():
        raise EmulationError(f"the qemu package names {interpreter}, which it does not hold")
    flags = flags if "F" in flags else flags + "F"
    if (BINFMT / entry).exists():
        (BINFMT / entry).write_text("-1")
    # The kernel itself reads the \x escapes, so the line goes to it as the package has it.
    (BINFMT / "register").write_text(f":{entry}:{kind}:{offset}:{magic}:{mask}:{path}:{flags}")
    return entry


def unregister(prefix: str) -> list[str]:
    """Remove the entries that :func:`register` made with ``prefix``; their names."""
    names = {f"{prefix}-{qemu}" for qemu, _ in ARCHITECTURES.values()}
    gone = [path for path in BINFMT.iterdir() if path.name in names] if BINFMT.is_dir() else []
    for path in gone:
        path.write_text("-1")
    return sorted(path.name for path in gone)
