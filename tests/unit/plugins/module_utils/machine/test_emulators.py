# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import MachineError
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine import emulators

LINE = r":qemu-s390x:M::\x7fELF\x02\x02:\xff\xff:/usr/bin/qemu-s390x-static:"


@pytest.fixture
def binfmt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the kernel's table, which concerns the whole machine: what is written stays to be seen."""
    table = tmp_path / "binfmt_misc"
    table.mkdir()
    (table / "register").touch()
    monkeypatch.setattr(emulators, "BINFMT", table)
    return table


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An unpacked qemu package."""
    made = tmp_path / "emulators"
    (made / "usr/lib/binfmt.d").mkdir(parents=True)
    (made / "usr/lib/binfmt.d/qemu-s390x.conf").write_text(f"# made by a package\n{LINE}\n")
    (made / "usr/bin").mkdir()
    (made / "usr/bin/qemu-s390x-static").touch()
    return made


def test_the_lines_of_a_package_are_found_by_architecture(root: Path) -> None:
    (root / "usr/lib/binfmt.d/qemu-empty.conf").write_text("# nothing\n")
    assert emulators.registrations(root) == {"s390x": LINE}


def test_an_emulator_is_registered_from_its_folder_and_held_open(binfmt: Path, root: Path) -> None:
    entry = emulators.register("linux/s390x", {"s390x": LINE}, root, "ours")
    assert entry == "ours-s390x"
    written = (binfmt / "register").read_text()
    assert written == rf":ours-s390x:M::\x7fELF\x02\x02:\xff\xff:{root}/usr/bin/qemu-s390x-static:F"


def test_an_entry_of_that_name_is_replaced(binfmt: Path, root: Path) -> None:
    (binfmt / "ours-s390x").write_text("enabled")
    emulators.register("linux/s390x", {"s390x": LINE}, root, "ours")
    assert (binfmt / "ours-s390x").read_text() == "-1"


def test_only_entries_of_the_name_are_removed(binfmt: Path) -> None:
    for name in ("ours-s390x", "ours-aarch64", "qemu-s390x", "ours-other"):
        (binfmt / name).write_text("enabled")
    assert emulators.unregister("ours") == ["ours-aarch64", "ours-s390x"]
    kept = {path.name for path in binfmt.iterdir() if path.read_text() == "enabled"}
    assert kept == {"qemu-s390x", "ours-other"}


@pytest.mark.parametrize(("platform", "lines"), [("linux/loong64", {}), ("linux/s390x", {"s390x": LINE})])
def test_an_emulator_that_is_not_there_is_an_error_that_names_the_platform(
    binfmt: Path, tmp_path: Path, platform: str, lines: dict[str, str]
) -> None:
    with pytest.raises(MachineError, match=platform) as raised:
        emulators.register(platform, lines, tmp_path / "empty", "ours")
    assert (raised.value.code, raised.value.phase) == ("no_emulator", "machine")
    assert raised.value.hint


def test_what_is_missing_is_registered_once_for_each_architecture(
    binfmt: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emulators, "runnable", lambda wanted: [one for one in wanted if "s390x" not in one])
    wanted = ["linux/amd64", "linux/s390x", "linux/s390x/z13"]
    dry = emulators.register_missing("ours", wanted, root, dry_run=True)
    assert (dry.changed, dry.entries, (binfmt / "register").read_text()) == (True, [], "")
    done = emulators.register_missing("ours", wanted, root)
    assert (done.changed, done.entries) == (True, ["ours-s390x"])
    assert not (root / "mounted").exists(), "the table was there"
    assert not emulators.register_missing("ours", ["linux/amd64"], root).changed


def test_removing_takes_entries_and_folder_and_is_no_change_the_second_time(binfmt: Path, root: Path) -> None:
    (binfmt / "ours-s390x").write_text("enabled")
    dry = emulators.remove("ours", root, dry_run=True)
    assert dry.changed
    assert root.exists()
    assert emulators.remove("ours", root).entries == ["ours-s390x"]
    assert not root.exists()
    (binfmt / "ours-s390x").unlink()  # as the kernel does
    assert not emulators.remove("ours", root).changed
