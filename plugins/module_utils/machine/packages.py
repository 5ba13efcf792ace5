# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Debian packages installed with a record of which were new, so that exactly those can go again."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import MachineError
from .commands import call, last_words, output

_APT = [
    "apt-get",
    "-qq",
    *("-o", "Dpkg::Options::=--force-confold"),
    *("-o", "DPkg::Lock::Timeout=120"),
    *("-o", "APT::Keep-Downloaded-Packages=false"),
]
# Only an apt-get that hangs takes as long; one that is ended leaves packages half installed.
_SECONDS = 3600.0


@dataclass(frozen=True)
class Recorded:
    """Whether packages were installed or purged, or would be, and what the record names now."""

    changed: bool
    packages: list[str]


def python_lacks(name: str) -> bool:
    """Whether the Python that runs this lacks the package ``name`` and takes those that apt installs."""
    own = sys.prefix == "/usr" and shutil.which("apt-get") is not None
    return own and importlib.util.find_spec(name) is None


def install(names: Sequence[str], record: Path, *, dry_run: bool = False) -> Recorded:
    """Install those of ``names`` that are missing, and add all packages that came with them to ``record``.

    The record, a JSON list of names, is written also where the installation fails half-way. With
    ``dry_run`` nothing is touched. Raises ``MachineError``.
    """
    recorded = _read(record)
    if not names:
        return Recorded(False, sorted(recorded))
    before = _states()
    installed = {name.split(":", 1)[0] for name, state in before.items() if state == "i"}
    missing = [name for name in names if name not in installed]
    if missing and not dry_run:
        _apt("update")
        with _undisturbed():
            try:
                _apt("install", "--yes", "--no-install-recommends", "--", *missing)
            finally:
                recorded |= _states().keys() - before.keys()
                record.parent.mkdir(parents=True, exist_ok=True)
                record.write_text(json.dumps(sorted(recorded)) + "\n", encoding="utf-8")
    return Recorded(bool(missing), sorted(recorded))


def purge(record: Path, *, dry_run: bool = False) -> Recorded:
    """Purge what ``record`` names and is still there, and remove the record. Raises ``MachineError``."""
    there = sorted(_read(record) & _states().keys())
    if not dry_run:
        with _undisturbed():
            if there:
                _apt("purge", "--yes", "--", *there)
            record.unlink(missing_ok=True)
    return Recorded(bool(there), [])


def _read(record: Path) -> set[str]:
    if not record.exists():
        return set()
    try:
        names = json.loads(record.read_text(encoding="utf-8"))
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MachineError(
            "invalid_record",
            f"The record of installed packages {record} is not a list of names.",
            hint="Restore it, or remove it and purge by hand what was installed.",
        )
    return set(names)


def _states() -> dict[str, str]:
    """The state of each package that is there at all, ``i`` when it is installed. Source: dpkg-query(1)."""
    listing = output(["dpkg-query", "--show", "--showformat", "${binary:Package} ${db:Status-Abbrev}\n"])
    states = {line.split()[0]: line.split()[1][1] for line in listing.splitlines() if line.split()[1:]}
    return {name: state for name, state in states.items() if state not in "nc"}


def _apt(*arguments: str) -> None:
    # Who runs a module may remove its folder for temporary files when interrupted, before dpkg ends.
    env = {key: value for key, value in os.environ.items() if key != "TMPDIR"}
    done = call(
        [*_APT, *arguments],
        env={**env, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        seconds=_SECONDS,
    )
    if done.status != 0:
        raise MachineError(
            "apt_failed",
            f"apt-get {' '.join(arguments)} failed: {last_words(done)}",
            hint="Check the machine's apt sources and its network.",
        )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let the block come to its end, whatever signal asks to stop: packages and record belong together."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    # A function, because what is ignored here would be ignored by apt-get and by services it starts.
    kept = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
