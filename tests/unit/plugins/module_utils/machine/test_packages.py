# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import MachineError
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine import packages

# They stand for apt-get and dpkg-query: a test must not install packages.
APT = """#!/bin/sh
echo "$@" >>"$STATE/asked"
for name; do :; done
case "$*" in
*" install "*) echo "$name ii" >>"$STATE/packages"; echo "lib$name:amd64 ii" >>"$STATE/packages" ;;
*" purge "*) [ ! -e "$STATE/broken" ] || { echo "E: dpkg was interrupted" >&2; exit 100; } ;;
esac
"""
DPKG_QUERY = """#!/bin/sh
cat "$STATE/packages"
"""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "bin").mkdir()
    for name, text in (("apt-get", APT), ("dpkg-query", DPKG_QUERY)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "packages").write_text("libc6:amd64 ii\nold rc\nhalf iF\n")
    (tmp_path / "asked").touch()
    monkeypatch.setenv("STATE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


def asked(state: Path) -> list[str]:
    return [line.split(" ", 7)[-1] for line in (state / "asked").read_text().splitlines()]


def test_what_is_missing_is_installed_and_recorded_with_all_that_it_brings(state: Path) -> None:
    record = state / "prefix" / "installed.json"
    done = packages.install(["runc", "libc6"], record)
    assert (done.changed, done.packages) == (True, ["librunc:amd64", "runc"])
    assert asked(state) == ["update", "install --yes --no-install-recommends -- runc"]
    again = packages.install(["runc", "libc6"], record)
    assert (again.changed, again.packages) == (False, ["librunc:amd64", "runc"])
    assert len(asked(state)) == 2


def test_a_python_takes_from_apt_only_what_it_lacks(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not packages.python_lacks("no_such_package"), (
        "a virtual environment does not see the distribution's"
    )
    monkeypatch.setattr("sys.prefix", "/usr")
    assert packages.python_lacks("no_such_package")
    assert not packages.python_lacks("json")
    monkeypatch.setenv("PATH", "/nonexistent")
    assert not packages.python_lacks("no_such_package"), "there is no apt"
    assert not packages.install([], state / "installed.json").changed


def test_only_what_is_on_record_and_still_there_is_purged(state: Path) -> None:
    record = state / "installed.json"
    record.write_text('["runc", "gone", "old"]')
    with (state / "packages").open("a") as file:
        file.write("runc ii\n")
    assert packages.purge(record, dry_run=True).changed
    assert asked(state) == []
    assert packages.purge(record).changed
    assert asked(state) == ["purge --yes -- runc"]
    assert not record.exists()
    assert not packages.purge(record).changed


def test_the_record_stays_where_purging_fails(state: Path) -> None:
    (state / "broken").touch()
    record = state / "installed.json"
    record.write_text('["libc6:amd64"]')
    with pytest.raises(MachineError, match="dpkg was interrupted") as raised:
        packages.purge(record)
    assert (raised.value.code, raised.value.phase) == ("apt_failed", "machine")
    assert record.exists()


def test_a_dry_run_installs_nothing(state: Path) -> None:
    done = packages.install(["half"], state / "installed.json", dry_run=True)
    assert done.changed, "it is there only half"
    assert asked(state) == []
    assert not (state / "installed.json").exists()


@pytest.mark.parametrize("text", ["{", '{"runc": 1}', "[1]"])
def test_a_record_that_cannot_be_read_is_an_error_that_names_it(state: Path, text: str) -> None:
    (state / "installed.json").write_text(text)
    with pytest.raises(MachineError, match=r"installed\.json") as raised:
        packages.purge(state / "installed.json")
    assert raised.value.code == "invalid_record"
