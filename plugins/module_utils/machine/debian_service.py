# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A private program out of Debian packages, of the first of several releases that it runs from."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import MachineError
from . import commands
from .debian_unpack import Packages
from .service import Kept, Service

# Programs that only tell their version.
_SECONDS = 30.0


@dataclass(frozen=True)
class KeptRelease:
    """What ``DebianService.keep`` found and did; ``suite`` is the release that the program is of, if known.

    ``warnings`` say of each release that would have been preferred why it is not.
    """

    kept: Kept
    suite: str
    warnings: Sequence[str] = ()


@dataclass
class _Record:
    """The release whose programs are there, the versions of its packages, and why others were refused."""

    suite: str = ""
    packages: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DebianService:
    """``service``, whose programs are in Debian's ``packages``, unpacked into ``dest`` and not installed.

    ``suites`` are releases, the preferred first. ``tries`` are commands that show whether a release's
    programs run on this machine at all; the path of each one's program is relative to ``dest``. Of the
    packages only what is below ``usr`` is kept: what they configure is a whole system.
    """

    service: Service
    packages: Sequence[str]
    suites: Sequence[str]
    dest: Path
    tries: Sequence[Sequence[str]] = ()

    def keep(self, *, dry_run: bool = False) -> KeptRelease:
        """Have the program run, of the first release that can be fetched, unpacked and started.

        One that runs is ended for a release that is preferred to its own, and comes back where that one does
        not start. Such a release is remembered, and not tried again; one that could not be fetched is. Where
        nothing better can be had, what lies in ``dest`` serves. ``dry_run`` only looks. Raises
        ``MachineError``.
        """
        now = self.service.keep(dry_run=True)
        record = self._read()
        wanted = [suite for suite in self.suites if suite not in record.refused]
        warnings = [record.refused[suite] for suite in self.suites if suite in record.refused]
        if dry_run:
            differs = now.differs or record.suite not in wanted[:1]
            return KeptRelease(Kept(differs, pid=now.pid), record.suite, warnings)
        self._put_back()
        for suite in wanted:
            try:
                if suite == record.suite:
                    return self._stay(record, warnings)
                return self._take(suite, record, warnings)
            except _Passed as passed:
                warnings.append(str(passed))
        if (self.dest / "usr").exists():
            return self._stay(record, warnings)
        raise MachineError(
            "no_release_starts",
            f"{self.service.name} starts from no release of Debian. {' '.join(warnings)}",
            hint="Mend what is said of one of them, and run this again.",
        )

    def _stay(self, record: _Record, warnings: list[str]) -> KeptRelease:
        kept = self.service.keep()
        self._save(record)
        return KeptRelease(kept, record.suite, warnings)

    def _take(self, suite: str, record: _Record, warnings: list[str]) -> KeptRelease:
        """Fetch, try, exchange and start the programs of ``suite``, and remember it. Raises ``_Passed``."""
        fresh = self.dest / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            try:
                unpacked = Packages(self.packages, suite, accept_outdated=True).unpack_into(fresh)
            except MachineError as error:
                raise _Passed(f"Debian {suite} is passed over, since it cannot be fetched: {error}") from None
            warnings += unpacked.warnings
            try:
                for program, *arguments in self.tries:
                    commands.output([str(fresh / program), *arguments], seconds=_SECONDS)
                self._exchange(fresh)
                kept = self.service.keep()
            except MachineError as error:
                self._put_back()
                why = f"Debian {suite} is passed over, since its programs do not start: {error}"
                record.refused[suite] = f"{why} Remove {self._record} to have it tried again."
                raise _Passed(why) from None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(self._before, ignore_errors=True)
        self._save(_Record(suite, dict(unpacked.versions), record.refused))
        return KeptRelease(kept, suite, warnings)

    @property
    def _record(self) -> Path:
        return self.dest / "release.json"

    @property
    def _before(self) -> Path:
        """The programs that were there, until those that take their place have started."""
        return self.dest / "usr.before"

    def _exchange(self, fresh: Path) -> None:
        self.service.end()
        if (self.dest / "usr").exists():
            (self.dest / "usr").rename(self._before)
        else:
            self._before.mkdir()
        (fresh / "usr").rename(self.dest / "usr")

    def _put_back(self) -> None:
        """Undo an exchange that did not end in a start, be it an earlier run's."""
        if self._before.exists():
            self.service.end()
            shutil.rmtree(self.dest / "usr", ignore_errors=True)
            if any(self._before.iterdir()):
                self._before.rename(self.dest / "usr")
            else:
                self._before.rmdir()

    def _read(self) -> _Record:
        try:
            return _Record(**json.loads(self._record.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return _Record()
        except (ValueError, TypeError):
            raise MachineError(
                "invalid_record",
                f"The record of what was unpacked {self._record} cannot be read.",
                hint="Remove it, so that the packages are unpacked again.",
            ) from None

    def _save(self, record: _Record) -> None:
        partial = self._record.with_suffix(".partial")
        partial.write_text(json.dumps(vars(record), indent=2, sort_keys=True) + "\n", encoding="utf-8")
        os.replace(partial, self._record)


class _Passed(Exception):
    """Why a release is passed over, in a sentence."""
