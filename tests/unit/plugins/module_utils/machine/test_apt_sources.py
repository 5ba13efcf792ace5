# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import MachineError
from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.apt_sources import (
    codename,
    sources,
)


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    return tmp_path


def test_a_source_in_paragraphs_is_exchanged_for_another_release_with_its_address_and_key(etc: Path) -> None:
    (etc / "sources.list.d" / "debian.sources").write_text(
        "# Debian\n"
        "Types: deb deb-src\n"
        "URIs: http://mirror.test/debian\n"
        "Suites: bookworm bookworm-updates bookworm-backports\n"
        "Components: main contrib\n"
        "Architectures: amd64\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )
    assert sources("trixie", "bookworm", etc=etc) == (
        "Types: deb\n"
        "Uris: http://mirror.test/debian\n"
        "Suites: trixie trixie-updates\n"
        "Components: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    )


def test_a_source_on_one_line_is_exchanged_for_another_release_with_its_options(etc: Path) -> None:
    (etc / "sources.list").write_text(
        "deb-src http://mirror.test/debian bookworm main\n"
        "deb [arch=amd64 trusted=yes] http://mirror.test/debian bookworm-security main contrib # updates\n"
    )
    assert sources("trixie", "bookworm", etc=etc) == (
        "Types: deb\n"
        "URIs: http://mirror.test/debian\n"
        "Suites: trixie-security\n"
        "Components: main\n"
        "Trusted: yes\n"
    )


def test_only_the_wanted_pockets_are_taken(etc: Path) -> None:
    (etc / "sources.list").write_text(
        "deb http://mirror.test/debian bookworm main\ndeb http://mirror.test/debian bookworm-updates main\n"
    )
    text = sources("bookworm", "bookworm", [""], etc)
    assert "Suites: bookworm\n" in text
    assert "bookworm-updates" not in text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docker.list", "deb https://download.docker.test/linux/debian bookworm stable\n"),
        (
            "docker.sources",
            "Types: deb\nURIs: https://download.docker.test/linux/debian\nSuites: bookworm\n"
            "Components: stable\n",
        ),
        ("other.list", "deb https://packages.test/apt bookworm main\n"),
        (
            "off.sources",
            "Enabled: no\nTypes: deb\nURIs: http://a.test/debian\nSuites: bookworm\nComponents: main\n",
        ),
        ("newer.list", "deb http://mirror.test/debian sid main\n"),
    ],
)
def test_another_makers_archive_or_another_release_is_not_the_distributions(
    etc: Path, name: str, text: str
) -> None:
    (etc / "sources.list.d" / name).write_text(text)
    with pytest.raises(MachineError, match="name no archive of Debian bookworm") as raised:
        sources("trixie", "bookworm", etc=etc)
    assert (raised.value.code, raised.value.phase) == ("no_debian_archive", "machine")
    assert raised.value.hint


def test_the_release_is_read_from_what_the_machine_says_of_itself(tmp_path: Path) -> None:
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    assert codename(tmp_path / "os-release") == "bookworm"
    (tmp_path / "os-release").write_text("ID=arch\n")
    with pytest.raises(MachineError, match="runs no release of Debian"):
        codename(tmp_path / "os-release")
