# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A program as a unit of systemd, on machines that systemd runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from . import commands

#: Where the administrator's own units lie. Source: systemd.unit(5).
UNITS = Path("/etc/systemd/system")

_UNIT = """\
[Unit]
Description={name} (private program of the image builder)
Wants=network-online.target
After=network-online.target

[Service]
{before}ExecStart={command}
Environment=PATH={path} HOME={home}
Restart=on-failure
Delegate=yes
KillMode=mixed
LimitNOFILE=1048576
StandardOutput=append:{log}
StandardError=append:{log}

[Install]
WantedBy=multi-user.target
"""
# A unit that is slow to stop is killed by systemd itself after 90 seconds.
_SECONDS = 300.0


def runs_machine() -> bool:
    """Whether systemd is this machine's first process. Source: sd_booted(3)."""
    return Path("/run/systemd/system").is_dir()


def unit_text(
    name: str, command: Sequence[str], *, before: Sequence[str], path: str, home: str, log: Path
) -> str:
    """The unit that keeps ``command`` running, with ``before``, if there is any, run ahead of each start.

    ``path`` and ``home`` are the PATH and the HOME that the program sees; ``log`` takes its output.
    """
    return _UNIT.format(
        name=name,
        before=f"ExecStartPre={_quoted(before)}\n" if before else "",
        command=_quoted(command),
        path=path,
        home=home,
        log=log,
    )


def systemctl(*arguments: str) -> None:
    """Run systemctl with ``arguments``. Raises ``MachineError``."""
    commands.output(["systemctl", *arguments], seconds=_SECONDS)


def _quoted(command: Sequence[str]) -> str:
    """As systemd reads it: quoted, with its own ``%`` and ``$`` taken as text."""
    return " ".join(json.dumps(part).replace("%", "%%").replace("$", "$$") for part in command)
