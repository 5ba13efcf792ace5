# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A program out of one of several releases, with real processes; what the releases hold is made here."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import MachineError
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine import (
    debian_service,
    systemd,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.debian_service import (
    DebianService,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.debian_unpack import Unpacked
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.service import Service

# The interpreter that a release's program is a copy of; what the program does stands in a file beside it.
PYTHON = Path("/usr/bin/python3").resolve()
RUNS = """\
import os, socketserver, sys
from http.server import BaseHTTPRequestHandler

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

print("$RELEASE", flush=True)
if os.path.exists(sys.argv[1]):
    os.unlink(sys.argv[1])
socketserver.UnixStreamServer(sys.argv[1], Handler).serve_forever()
"""
# Ends well only beside the program of the release "old".
OLD_ONLY = (
    "import os, sys; what = open(os.path.join(os.path.dirname(sys.executable), 'what')).read(); "
    "sys.exit(None if '(\"old' in what else 'no GLIBC')"
)


@dataclass
class Releases:
    """What Debian's releases have: by name, the program's text, or why it cannot be fetched."""

    programs: dict[str, str] = field(default_factory=dict)
    unreachable: set[str] = field(default_factory=set)
    fetched: list[str] = field(default_factory=list)


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Releases:
    made = Releases()

    class Packages:
        def __init__(self, names: list[str], suite: str, *, accept_outdated: bool) -> None:
            assert accept_outdated
            self.suite = suite

        def unpack_into(self, dest: Path) -> Unpacked:
            made.fetched.append(self.suite)
            if self.suite in made.unreachable:
                raise MachineError("apt_failed", f"No way to {self.suite}.")
            (dest / "usr").mkdir(parents=True)
            (dest / "etc").mkdir()
            shutil.copy(PYTHON, dest / "usr/daemon")
            (dest / "usr/what").write_text(made.programs[self.suite].replace("$RELEASE", self.suite))
            return Unpacked(True, {"daemon:amd64": self.suite})

    monkeypatch.setattr(debian_service, "Packages", Packages)
    return made


@pytest.fixture
def service(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> Iterator[DebianService]:
    monkeypatch.setattr(systemd, "runs_machine", lambda: False)
    with tempfile.TemporaryDirectory(prefix="ib-") as folder:
        monkeypatch.setattr(systemd, "UNITS", Path(folder) / "units")
        dest = Path(folder, "dest")
        made = Service(
            name="ours",
            prefix=str(dest / "usr"),
            log=Path(folder, "log"),
            command=[str(dest / "usr/daemon"), str(dest / "usr/what"), f"{folder}/socket"],
            ready=f"unix://{folder}/socket",
            patience=30,
        )
        yield DebianService(made, ["daemon"], ["new", "old"], dest, [["usr/daemon", "--version"]])
        made.remove()


def started(service: DebianService) -> list[str]:
    """What the programs said when they were started."""
    return service.service.log.read_text().split()


def programs(releases: Releases, texts: Mapping[str, str]) -> None:
    releases.programs.update(texts)


def test_the_preferred_release_is_taken_once(service: DebianService, releases: Releases) -> None:
    programs(releases, {"new": RUNS, "old": RUNS})
    looked = service.keep(dry_run=True)
    assert (looked.kept.differs, releases.fetched) == (True, [])
    first = service.keep()
    assert (first.kept.differs, first.suite, list(first.warnings)) == (True, "new", [])
    again = service.keep()
    assert (again.kept, again.suite) == (replace(first.kept, differs=False), "new")
    assert not service.keep(dry_run=True).kept.differs
    assert releases.fetched == ["new"]
    assert started(service) == ["new"]
    assert sorted(path.name for path in service.dest.iterdir()) == ["release.json", "usr"]


def test_what_cannot_be_fetched_is_passed_over_said_and_tried_the_next_time(
    service: DebianService, releases: Releases
) -> None:
    programs(releases, {"new": RUNS, "old": RUNS})
    releases.unreachable = {"new"}
    first = service.keep()
    assert first.suite == "old"
    assert "Debian new is passed over, since it cannot be fetched: No way to new." in first.warnings[0]
    again = service.keep()
    assert not again.kept.differs
    assert again.kept.pid == first.kept.pid
    assert len(again.warnings) == 1
    releases.unreachable = set()
    third = service.keep()
    assert (third.kept.differs, third.suite, list(third.warnings)) == (True, "new", [])
    assert third.kept.pid != first.kept.pid


@pytest.mark.parametrize(
    ("tries", "text", "why"),
    [
        ([["usr/daemon", "-c", OLD_ONLY]], RUNS, "no GLIBC"),
        ([], "import sys; sys.exit('kernel too old')", "kernel too old"),
    ],
    ids=["does not run", "does not start"],
)
def test_what_does_not_start_is_passed_over_said_and_not_tried_again(
    tries: list[list[str]], text: str, why: str, service: DebianService, releases: Releases
) -> None:
    service = replace(service, tries=tries)
    programs(releases, {"new": text, "old": RUNS})
    first = service.keep()
    assert (first.kept.differs, first.suite) == (True, "old")
    assert "Debian new is passed over, since its programs do not start" in first.warnings[0]
    assert why in first.warnings[0]
    again = service.keep()
    assert (again.kept.differs, again.kept.pid) == (False, first.kept.pid)
    assert why in again.warnings[0]
    assert "release.json to have it tried again" in again.warnings[0]
    assert releases.fetched == ["new", "old"]


def test_a_running_program_comes_back_where_a_preferred_release_does_not_start(
    service: DebianService, releases: Releases
) -> None:
    programs(releases, {"new": "raise SystemExit(1)", "old": RUNS})
    old_only = replace(service, suites=["old"])
    first = old_only.keep()
    second = service.keep()
    assert (second.kept.differs, second.suite) == (True, "old")
    assert len(second.warnings) == 1
    third = service.keep()
    assert (third.kept.differs, third.kept.pid) == (False, second.kept.pid)
    assert releases.fetched == ["old", "new"]
    assert first.kept.pid != second.kept.pid


def test_programs_that_an_interrupted_exchange_put_away_come_back(
    service: DebianService, releases: Releases
) -> None:
    programs(releases, {"old": RUNS})
    replace(service, suites=["old"]).keep()
    service.service.end()
    (service.dest / "usr").rename(service.dest / "usr.before")
    (service.dest / "usr").mkdir()
    releases.unreachable = {"new", "old"}
    kept = service.keep()
    assert (kept.kept.differs, kept.suite) == (True, "old")
    assert (service.dest / "usr/daemon").exists()


def test_what_was_unpacked_without_a_record_serves_where_nothing_better_can_be_had(
    service: DebianService, releases: Releases
) -> None:
    (service.dest / "usr").mkdir(parents=True)
    shutil.copy(PYTHON, service.dest / "usr/daemon")
    (service.dest / "usr/what").write_text(RUNS)
    releases.unreachable = {"new", "old"}
    kept = service.keep()
    assert (kept.kept.differs, kept.suite, len(kept.warnings)) == (True, "", 2)
    assert not service.keep().kept.differs
    programs(releases, {"new": RUNS})
    releases.unreachable = set()
    assert service.keep().suite == "new"


def test_where_no_release_starts_each_is_said_and_nothing_is_remembered(
    service: DebianService, releases: Releases
) -> None:
    programs(releases, {"new": "raise SystemExit(1)"})
    releases.unreachable = {"old"}
    with pytest.raises(MachineError) as raised:
        service.keep()
    assert raised.value.code == "no_release_starts"
    assert "Debian new is passed over" in raised.value.message
    assert "No way to old." in raised.value.message
    assert list(service.dest.iterdir()) == []
    programs(releases, {"new": RUNS})
    assert service.keep().suite == "new"


def test_a_record_that_cannot_be_read_is_an_error_that_says_what_to_remove(service: DebianService) -> None:
    service.dest.mkdir()
    for text in ("{", "[]", json.dumps({"unknown": 1})):
        (service.dest / "release.json").write_text(text)
        with pytest.raises(MachineError, match=r"release\.json cannot be read") as raised:
            service.keep()
        assert raised.value.code == "invalid_record"
