# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Registering emulators with the kernel, from the distribution's QEMU unpacked beside the system."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..engine.emulation import ARCHITECTURES, BINFMT, architecture, runnable
from ..errors import MachineError
from . import commands, debian_archive

# Debian 13 moved what qemu-user-static holds to the other two.
_PACKAGES = (["qemu-user-static"], ["qemu-user", "qemu-user-binfmt"])
# In the folder of the emulators: binfmt_misc was mounted for them.
_MOUNTED = "mounted"


@dataclass(frozen=True)
class Registered:
    """Whether emulators were registered or removed, or would be, and the kernel's entries that were."""

    changed: bool
    entries: list[str]


def register_missing(name: str, platforms: Sequence[str], root: Path, *, dry_run: bool = False) -> Registered:
    """Register emulators for those of ``platforms`` that this machine cannot run.

    The emulators are unpacked into ``root`` unless they are there, and the entries are named after ``name``.
    ``dry_run`` only looks. Raises ``MachineError``.
    """
    there = runnable(platforms)
    missing = [platform for platform in platforms if platform not in there]
    entries: list[str] = []
    if missing and not dry_run:
        lines = _unpack(root)
        if mount():
            (root / _MOUNTED).touch()
        # The platforms of one architecture share one emulator.
        for platform in {architecture(platform): platform for platform in missing}.values():
            if not runnable([platform]):
                entries.append(register(platform, lines, root, name))
    return Registered(bool(missing), entries)


def remove(name: str, root: Path, *, dry_run: bool = False) -> Registered:
    """Undo what ``register_missing`` did with ``name`` and ``root``. ``dry_run`` only looks."""
    entries = [] if dry_run else unregister(name)
    changed = bool(entries) or root.exists()
    if changed and not dry_run:
        if (root / _MOUNTED).exists():
            commands.call(["umount", str(BINFMT)])  # another's use keeps it, which is as well
        shutil.rmtree(root, ignore_errors=True)
    return Registered(changed, entries)


def mount() -> bool:
    """Mount binfmt_misc. Returns whether that was needed. Raises ``MachineError``."""
    if (BINFMT / "register").exists():
        return False
    done = commands.call(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
    if done.status != 0:
        raise MachineError(
            "emulation_unavailable",
            f"Cannot mount {BINFMT}, which registers emulators: {commands.last_words(done)}",
            hint="Run as root, on a kernel with binfmt_misc; where this is a container, on its host.",
        )
    return True


def registrations(root: Path) -> dict[str, str]:
    """The registration lines, by QEMU's architecture, of a qemu package unpacked at ``root``.

    A line reads ``:name:type:offset:magic:mask:interpreter:flags``. Source: binfmt.d(5).
    """
    found = {}
    for path in (root / "usr/lib/binfmt.d").glob("qemu-*.conf"):
        line = next((line for line in path.read_text().splitlines() if line.startswith(":")), None)
        if line:
            found[path.stem[len("qemu-") :]] = line
    return found


def register(platform: str, lines: Mapping[str, str], root: Path, prefix: str) -> str:
    """Register the emulator for ``platform`` of the package at ``root``, and give the entry's name.

    ``lines`` are the package's ``registrations``; the name begins with ``prefix``. An entry of that name is
    replaced. Raises ``MachineError``.
    """
    name = architecture(platform)
    qemu = ARCHITECTURES[name][0] if name in ARCHITECTURES else name
    if qemu not in lines:
        raise MachineError(
            "no_emulator",
            f"This machine cannot run {platform}, and its distribution's qemu brings no emulator for it.",
            hint=f"Leave it out of the platforms, or register one for {qemu} yourself.",
        )
    entry = f"{prefix}-{qemu}"
    _, _, kind, offset, magic, mask, interpreter, flags = lines[qemu].split(":")
    path = root / interpreter.lstrip("/")
    if not path.exists():
        raise MachineError(
            "no_emulator",
            f"The distribution's qemu names {interpreter} for {platform}, but does not hold it.",
            hint=f"Remove {root} and try again, or register an emulator for {qemu} yourself.",
        )
    flags = flags if "F" in flags else flags + "F"
    if (BINFMT / entry).exists():
        (BINFMT / entry).write_text("-1")
    # The kernel itself reads the \x escapes, so the line goes to it as the package has it.
    (BINFMT / "register").write_text(f":{entry}:{kind}:{offset}:{magic}:{mask}:{path}:{flags}")
    return entry


def unregister(prefix: str) -> list[str]:
    """Remove the entries that ``register`` made with ``prefix``, and give their names."""
    names = {f"{prefix}-{qemu}" for qemu, _ in ARCHITECTURES.values()}
    gone = [path for path in BINFMT.iterdir() if path.name in names] if BINFMT.is_dir() else []
    for path in gone:
        path.write_text("-1")
    return sorted(path.name for path in gone)


def _unpack(root: Path) -> dict[str, str]:
    """The registration lines of the emulators at ``root``, fetched when they are not there."""
    lines = registrations(root)
    if lines:
        return lines
    with debian_archive.Archive(debian_archive.machine_architecture()) as archive:
        for packages in _PACKAGES:
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir(parents=True)
            for deb in archive.download(packages):
                debian_archive.unpack(deb, root)
            lines = registrations(root)
            if lines:
                return lines
    raise MachineError(
        "no_emulator",
        "The distribution's qemu packages name no emulators to register.",
        hint="Register emulators yourself, or leave the other platforms out.",
    )
