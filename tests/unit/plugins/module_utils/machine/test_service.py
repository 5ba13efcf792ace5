# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
import signal
import socketserver
import tempfile
import threading
import venv
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import MachineError
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine import processes, systemd
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.service import Service

#: A daemon that answers at a Unix socket and says on its output that it began.
SERVER = """\
import os, socketserver, sys
from http.server import BaseHTTPRequestHandler

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

print("began", os.environ["HOME"], flush=True)
if os.path.exists(sys.argv[1]):
    os.unlink(sys.argv[1])
socketserver.UnixStreamServer(sys.argv[1], Handler).serve_forever()
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What a socket's path of at most 107 characters can lie in; systemd, if any, is left alone."""
    with tempfile.TemporaryDirectory(prefix="ib-") as made:
        monkeypatch.setattr(systemd, "runs_machine", lambda: False)
        monkeypatch.setattr(systemd, "UNITS", Path(made) / "units")
        yield Path(made)


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    """A daemon whose executable, a Python, lies in a folder of its own."""
    prefix, script, socket = folder / "prefix", folder / "etc" / "server.py", folder / "socket"
    venv.create(prefix, symlinks=False, with_pip=False)
    made = Service(
        name="ours",
        prefix=str(prefix),
        log=folder / "log" / "log",
        command=[str(prefix / "bin" / "python"), str(script), str(socket)],
        home=str(folder),
        files={script: SERVER},
        folders=[str(folder / "etc"), str(folder / "log")],
        ready=f"unix://{socket}",
        patience=30,
    )
    yield made
    made.remove()
    assert processes.processes(str(prefix)) == []


def lines(service: Service) -> list[str]:
    return service.log.read_text().splitlines()


def test_a_program_is_started_once_and_again_when_its_files_change(service: Service, folder: Path) -> None:
    first = service.keep()
    assert first.differs
    assert first.pid in processes.processes(service.prefix)
    again = service.keep()
    assert (again.differs, again.pid) == (False, first.pid)
    assert lines(service) == [f"began {folder}"]
    changed = replace(service, files={path: f"{text}\n" for path, text in service.files.items()})
    assert changed.keep(dry_run=True).differs
    assert lines(service) == [f"began {folder}"]
    third = changed.keep()
    assert third.differs
    assert third.pid != first.pid
    assert lines(service) == [f"began {folder}"] * 2


def test_a_program_that_was_killed_is_started_again(service: Service) -> None:
    pid = service.keep().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    processes.wait_until(lambda: not processes.processes(service.prefix), 30)
    done = service.keep()
    assert done.differs
    assert done.pid not in (None, pid)


def test_a_dry_run_touches_nothing(service: Service) -> None:
    done = service.keep(dry_run=True)
    assert (done.differs, done.pid) == (True, None)
    assert not any(path.exists() for path in service.files)
    assert not service.remove(dry_run=True)
    service.keep()
    assert service.remove(dry_run=True)
    assert service.keep().differs is False


def test_removing_ends_the_program_takes_its_files_and_is_no_change_the_second_time(
    service: Service, folder: Path
) -> None:
    (folder / "made-before").mkdir()
    shared = replace(service, shared_folders=[str(folder / name) for name in ("made-before", "made-for-it")])
    shared.keep()
    (folder / "made-for-it").mkdir()
    assert shared.remove()
    assert processes.processes(service.prefix) == []
    assert not (folder / "made-for-it").exists()
    assert (folder / "made-before").exists()
    assert not (folder / "etc").exists()
    assert not shared.remove()


def test_another_program_in_its_place_is_an_error_unless_it_is_as_good(service: Service) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with socketserver.UnixStreamServer(service.ready.removeprefix("unix://"), Handler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        done = service.keep(accept_other=True)
        assert (done.differs, done.other, done.pid) == (False, True, None)
        with pytest.raises(MachineError, match="Another program answers at unix:///") as raised:
            service.keep()
        other.shutdown()
    assert (raised.value.code, raised.value.phase) == ("address_taken", "machine")


def test_a_program_that_ends_at_once_is_tried_thrice_and_quoted(service: Service) -> None:
    (script,) = service.files
    broken = replace(service, files={script: "raise SystemExit('the database is broken')\n"})
    with pytest.raises(MachineError, match="ours does not answer at unix:///") as raised:
        broken.keep()
    assert raised.value.code == "service_silent"
    assert lines(service) == ["the database is broken"] * 3
    assert "the database is broken" in raised.value.hint


def test_a_program_that_does_not_answer_in_time_is_left_to_be_seen_and_cleared_away_later(
    service: Service,
) -> None:
    (script,) = service.files
    with pytest.raises(MachineError) as raised:
        replace(service, files={script: "import time; time.sleep(600)\n"}, patience=1).keep()
    assert raised.value.code == "service_silent"
    assert service.keep().pid is not None
    assert len(processes.processes(service.prefix)) == 1


def test_a_program_that_is_not_unpacked_yet_is_named(service: Service, folder: Path) -> None:
    with pytest.raises(MachineError, match="does not exist") as raised:
        replace(service, command=[str(folder / "missing")]).keep()
    assert raised.value.code == "program_missing"


def test_what_prepares_the_machine_runs_before_a_start_and_is_undone_at_the_end(
    service: Service, folder: Path
) -> None:
    prepared = replace(
        service,
        before_start=["/bin/mkdir", str(folder / "bridge")],
        after_stop=["/bin/rmdir", str(folder / "bridge")],
    )
    prepared.keep()
    assert (folder / "bridge").is_dir()
    prepared.remove()
    assert not (folder / "bridge").exists()


def test_a_failing_preparation_is_told_in_its_words(service: Service) -> None:
    with pytest.raises(MachineError, match="no bridge here") as raised:
        replace(service, before_start=["/bin/sh", "-c", "echo no bridge here >&2; exit 1"]).keep()
    assert raised.value.code == "program_failed"
