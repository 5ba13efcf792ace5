# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which platforms' programs this machine's kernel runs, by itself or by emulators that are registered.

Only entries with the F flag count: the kernel then holds the emulator open, so it works
inside an image that does not have it.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

BINFMT = Path("/proc/sys/fs/binfmt_misc")
# An emulator that is registered for it can hang.
_PROGRAM_SECONDS = 10

# For each architecture, QEMU's name and how its programs begin: ELF class, byte order, e_machine.
# Source: the ELF specification, e_ident and e_machine.
ARCHITECTURES: Mapping[str, tuple[str, tuple[int, int, int]]] = {
    "386": ("i386", (1, 1, 3)),
    "amd64": ("x86_64", (2, 1, 62)),
    "arm": ("arm", (1, 1, 40)),
    "arm64": ("aarch64", (2, 1, 183)),
    "loong64": ("loongarch64", (2, 1, 258)),
    "mips64": ("mips64", (2, 2, 8)),
    "mips64le": ("mips64el", (2, 1, 8)),
    "ppc64": ("ppc64", (2, 2, 21)),
    "ppc64le": ("ppc64le", (2, 1, 21)),
    "riscv64": ("riscv64", (2, 1, 243)),
    "s390x": ("s390x", (2, 2, 22)),
}
_MACHINES = {
    "x86_64": "amd64",
    "i686": "386",
    "aarch64": "arm64",
    "armv7l": "arm",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
    "loongarch64": "loong64",
}


def architecture(platform: str) -> str:
    parts = platform.split("/")
    return parts[1] if len(parts) > 1 else parts[0]


def _runs_386() -> bool:
    """Whether the kernel runs 32-bit x86 programs: asked of it, with one that only exits."""
    # mov eax, 1; xor ebx, ebx; int 0x80
    code = b"\xb8\x01\x00\x00\x00\x31\xdb\xcd\x80"
    address, offset = 0x08048000, 52 + 32
    header = b"\x7fELF\x01\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, address + offset, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    segment = struct.pack(
        "<IIIIIIII", 1, 0, address, address, offset + len(code), offset + len(code), 5, 4096
    )
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "exit"
        program.write_bytes(header + segment + code)
        program.chmod(0o755)
        try:
            done = subprocess.run([str(program)], stdin=subprocess.DEVNULL, timeout=_PROGRAM_SECONDS)
            return done.returncode == 0
        except (OSError, subprocess.TimeoutExpired):
            return False


def _native(wanted: Collection[str]) -> list[str]:
    machine = _MACHINES.get(os.uname().machine, os.uname().machine)
    if machine == "amd64" and "386" in wanted and _runs_386():
        return ["amd64", "386"]
    return ["arm64", "arm"] if machine == "arm64" else [machine]


def _identity(magic: str) -> tuple[int, int, int]:
    """Class, byte order and machine of an entry's magic, which is hexadecimal."""
    head = bytes.fromhex(magic).ljust(20, b"\0")
    return head[4], head[5], int.from_bytes(head[18:20], "big" if head[5] == 2 else "little")


def _emulated(binfmt: Path) -> list[str]:
    entries = []
    for path in binfmt.iterdir() if binfmt.is_dir() else ():
        if path.name in ("register", "status"):
            continue
        text = path.read_text()
        flags = re.search(r"^flags: (\w*)", text, re.MULTILINE)
        magic = re.search(r"^magic (7f454c46[0-9a-f]+)$", text, re.MULTILINE)
        if text.startswith("enabled") and magic and flags and "F" in flags[1]:
            entries.append(_identity(magic[1]))
    return [name for name, (_, identity) in ARCHITECTURES.items() if identity in entries]


def runnable(platforms: Sequence[str], binfmt: Path = BINFMT) -> list[str]:
    """Those of ``platforms`` whose programs run here, natively or emulated."""
    wanted = {platform: architecture(platform) for platform in platforms}
    known = {*_native(wanted.values()), *_emulated(binfmt)}
    return [platform for platform in platforms if wanted[platform] in known]
