# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Archives that nobody vouches for: what comes out of good ones, and that nothing comes out of bad ones."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import (
    Archive,
    RemoteFile,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.file_url import to_url
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import SourceLimits
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources import kinds
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.archive import unpack
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.download import Body
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.tree import SourceTree
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import Workspace
from hypothesis import given
from hypothesis import strategies as st

from tests.support import fuzz

Fetch = Callable[..., SourceTree]
MODEST = 1700000000


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    """A member of an archive; ``fields`` are those of ``TarInfo``."""
    made = tarfile.TarInfo(name)
    made.size, made.mtime, made.mode = len(content), MODEST, 0o644
    for key, value in fields.items():
        setattr(made, key, value)
    return made, content


DOCKERFILE = member("Dockerfile", b"FROM scratch\n")


def folder(name: str, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, **{"mode": 0o755, **fields})


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard_link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def tar(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive of ``members`` as they are, whatever they are."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def fetch(workspace: Workspace, tmp_path: Path) -> Fetch:
    """Fetches an archive given as bytes."""

    def fetched(content: bytes, checksum: Optional[str] = None, **fields: str) -> SourceTree:
        path = tmp_path / "archive"
        path.write_bytes(content)
        source = Archive(RemoteFile(to_url(str(path)), checksum=checksum), **fields)
        return kinds.fetch(source, workspace, SILENT)

    return fetched


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that archives try to write to; the test fails if one does."""
    made = tmp_path / "outside"
    made.mkdir()
    (made / "file").write_text("untouched")
    return made


def refused(fetch: Fetch, content: bytes, code: str, says: str = "", **fields: Any) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(content, **fields)
    assert caught.value.code == code, caught.value
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
    assert caught.value.hint
    return caught.value


def listed(root: str) -> dict[str, str]:
    """What lies under ``root``: the mode of each file, ``link`` for links."""
    return {
        os.path.relpath(path, root): "link" if path.is_symlink() else oct(path.stat().st_mode & 0o7777)
        for path in Path(root).rglob("*")
    }


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "gzip in parts": lambda content: gzip.compress(content[:700]) + gzip.compress(content[700:]),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "xz -9": lambda content: lzma.compress(content, preset=9),
    "zstd": lambda content: subprocess.run(["zstd", "-c"], input=content, stdout=-1, check=True).stdout,
}


@pytest.mark.parametrize("compression", COMPRESS)
def test_the_compression_is_told_by_the_content(fetch: Fetch, compression: str) -> None:
    tree = fetch(COMPRESS[compression](tar(DOCKERFILE, member("lib/part.py", b"x" * 5000))))
    assert Path(tree.context, "lib/part.py").read_bytes() == b"x" * 5000
    assert tree.revision.startswith("sha256:")
    assert tree.committed_at == MODEST


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_files_folders_and_links_arrive_with_their_modes_and_without_special_bits(
    fetch: Fetch, format: int
) -> None:
    tree = fetch(
        tar(
            folder("./", mode=0o700),
            DOCKERFILE,
            folder("bin", mode=0o7755),
            member("bin/run", b"#!", mode=0o6755),
            member("secret", b"x", mode=0o400),
            hard_link("bin/same", "./bin/run"),
            symlink("absolute", "/etc/hostname"),
            symlink("bin/up", "../../.."),
            member("d" * 90 + "/" + "é" * 20, b"long"),
            format=format,
        )
    )
    found = listed(tree.context)
    assert found == {
        "Dockerfile": "0o644",
        "bin": "0o755",
        "bin/run": "0o755",
        "bin/same": "0o755",
        "secret": "0o600",
        "absolute": "link",
        "bin/up": "link",
        "d" * 90: "0o755",
        "d" * 90 + "/" + "é" * 20: "0o644",
    }
    assert os.readlink(os.path.join(tree.context, "absolute")) == "/etc/hostname"
    assert {os.lstat(os.path.join(tree.context, name)).st_mtime for name in found} == {MODEST}


def test_sparse_files_arrive_whole(fetch: Fetch, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Dockerfile").write_text("FROM scratch\n")
    with (tmp_path / "in" / "sparse").open("wb") as file:
        file.truncate(3 << 20)
        file.seek(1 << 20)
        file.write(b"island")
    for format in ("gnu", "pax"):
        argv = ["tar", "-cS", f"--format={format}", "-C", str(tmp_path / "in"), "."]
        tree = fetch(subprocess.run(argv, capture_output=True, check=True).stdout)
        assert Path(tree.context, "sparse").read_bytes() == (tmp_path / "in" / "sparse").read_bytes()


def test_the_last_of_several_members_of_one_name_counts(fetch: Fetch) -> None:
    tree = fetch(tar(DOCKERFILE, member("a", b"first"), symlink("a", "elsewhere"), member("a", b"last")))
    assert Path(tree.context, "a").read_text() == "last"
    assert not Path(tree.context, "a").is_symlink()


def test_a_single_folder_counts_as_the_root_where_the_dockerfile_lies_in_it(fetch: Fetch) -> None:
    inside = [member(f"app-1.0/{info.name}", content) for info, content in (DOCKERFILE, member("a", b"1"))]
    tree = fetch(tar(folder("app-1.0"), *inside))
    assert sorted(os.listdir(tree.context)) == ["Dockerfile", "a"]
    assert tree.dockerfile_name == "Dockerfile"


def test_what_macos_puts_beside_a_single_folder_does_not_count(fetch: Fetch) -> None:
    beside = [member(name, b"x") for name in ("._app-1.0", ".DS_Store", "__MACOSX/._app-1.0")]
    inside = [member(f"app-1.0/{info.name}", content) for info, content in (DOCKERFILE, member("a", b"1"))]
    tree = fetch(tar(*beside, folder("app-1.0"), *inside))
    assert sorted(os.listdir(tree.context)) == ["Dockerfile", "a"]


def test_a_zip_archive_is_called_one(fetch: Fetch) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("Dockerfile", "FROM scratch")
    refused(fetch, content.getvalue(), "archive_invalid", "is a zip archive")


def test_a_single_folder_stays_where_the_document_names_it(fetch: Fetch) -> None:
    tree = fetch(tar(member("app/Dockerfile", b"FROM scratch\n")), dockerfile="app/Dockerfile", workdir="app")
    assert (os.path.basename(tree.context), tree.dockerfile_name) == ("app", "app/Dockerfile")


def test_an_archive_without_a_dockerfile_is_an_error_that_says_where_it_was_looked_for(fetch: Fetch) -> None:
    refused(
        fetch, tar(member("a")), "no_dockerfile", "looked for Dockerfile and code/Dockerfile", workdir="code"
    )
    refused(fetch, tar(DOCKERFILE), "workdir_missing", "'nowhere'", workdir="nowhere")


def test_a_dockerfile_or_workdir_behind_a_link_that_leads_out_is_refused(fetch: Fetch, outside: Path) -> None:
    archive = tar(symlink("Dockerfile", "/etc/hostname"), symlink("out", str(outside)))
    refused(fetch, archive, "path_outside_source", "'Dockerfile'")
    refused(
        fetch, tar(DOCKERFILE, symlink("out", str(outside))), "path_outside_source", "'out/", workdir="out"
    )


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([member("../x")], "'../x' leads out"),
        ([member("a/../../x")], "leads out"),
        ([folder("..")], "leads out"),
        ([member("/tmp/x")], "'/tmp/x' is an absolute path"),
        ([symlink("a", "OUTSIDE"), member("a/x", b"1")], "goes on inside 'a'"),
        ([symlink("a", "OUTSIDE"), folder("a"), member("a/x", b"1")], "goes on inside 'a'"),
        ([symlink("a", "."), member("a/x", b"1")], "goes on inside 'a'"),
        ([member("a"), member("a/x", b"1")], "goes on inside 'a'"),
        ([hard_link("a", "OUTSIDE/file")], "is an absolute path"),
        ([hard_link("a", "../outside/file")], "leads out"),
        ([symlink("a", "OUTSIDE/file"), hard_link("b", "a"), member("b", b"1")], "which is no file"),
        ([symlink("a", "OUTSIDE"), hard_link("b", "a/file")], "did not come before"),
        ([hard_link("a", "missing")], "did not come before"),
        ([folder("a"), hard_link("b", "a")], "which is no file"),
        ([folder("a"), member("a", b"1")], "'a' is a folder and something else"),
        ([folder("a"), symlink("a", "b")], "'a' is a folder and something else"),
        ([member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)], "'null' is a device"),
        ([member("disk", type=tarfile.BLKTYPE, devmajor=8)], "'disk' is a device"),
        ([member("pipe", type=tarfile.FIFOTYPE)], "'pipe' is a named pipe"),
        ([member("odd", type=b"Y")], "'odd' is neither"),
        ([member("a\nb")], "the name 'a\\nb' cannot be"),
        ([member("a\x1b[31mb")], "cannot be"),
        ([member("x" * 300)], "cannot be"),
        ([member("a/" * 300 + "x")], "too many folders"),
        ([member("a/" * 2000 + "x")], "cannot be"),
        ([symlink("a", "b\nc")], "the link 'a'"),
        ([symlink("a", "")], "the link 'a'"),
        ([member("./")], "no folder has no name"),
        ([member("a", pax_headers={"path": "../x"})], "leads out"),
        ([member("a", pax_headers={"path": "b\0c"})], "cannot be"),
        ([member("a", pax_headers={"comment": "x" * (2 << 20)})], "longer than 1 MiB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_member_that_could_do_harm_is_refused(
    fetch: Fetch, outside: Path, members: list[tuple[tarfile.TarInfo, bytes]], says: str
) -> None:
    for info, _ in members:
        info.linkname = info.linkname.replace("OUTSIDE", str(outside))
    refused(fetch, tar(DOCKERFILE, *members), "archive_unsafe", says)
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"file": "untouched"}


def test_a_name_of_gnu_tar_may_be_no_longer_than_others(fetch: Fetch) -> None:
    refused(
        fetch, tar(DOCKERFILE, member("a" * (2 << 20)), format=tarfile.GNU_FORMAT), "archive_unsafe", "1 MiB"
    )


def header(**fields: Any) -> bytes:
    """A header with fields that Python would not write."""
    block = bytearray(member("a")[0].tobuf(tarfile.USTAR_FORMAT))
    for offset, value in fields.values():
        block[offset : offset + len(value)] = value
    block[148:156] = b"        "
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


END = bytes(1024)
GOOD = tar(DOCKERFILE)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no archive at all",
        b"PK\x03\x04" + bytes(1000),
        GOOD[:100],
        GOOD[:1500],
        tar(DOCKERFILE, member("a", b"x" * 5000))[:3000],
        GOOD[:1024],
        GOOD[:1024] + b"garbage".ljust(512, b"!") + END,
        gzip.compress(GOOD)[:-20],
        gzip.compress(GOOD)[:-8] + b"damaged!",
        bz2.compress(GOOD)[:-4],
        lzma.compress(GOOD)[:-10],
        b"\x1f\x8b" + bytes(100),
        b"\x28\xb5\x2f\xfd" + b"no zstd",
        COMPRESS["zstd"](GOOD)[:-3],
        GOOD[:1024] + header(size=(124, b"\xff" * 12)) + END,
        GOOD[:1024] + header(size=(124, b"\x80" + b"\x7f" * 11)) + END,
        GOOD[:1024] + header(kind=(156, b"x"), size=(124, b"\xff" * 11 + b"\0")) + END,
        tar(DOCKERFILE, member("a", pax_headers={"size": "-1024"})),
        tar(DOCKERFILE, member("a", pax_headers={"mtime": "nan"})),
        tar(DOCKERFILE, member("a", pax_headers={"GNU.sparse.map": "0,1,0,1", "GNU.sparse.size": "9"})),
        tar(DOCKERFILE, member("a", pax_headers={"GNU.sparse.major": "1", "GNU.sparse.minor": "0"})),
        GOOD[:1024] + header(kind=(156, b"x"), size=(124, b"00000000000\0")) * 3000 + END,
    ],
    ids=lambda content: content[:6].hex() + f"-{len(content)}",
)
def test_what_is_damaged_or_no_archive_ends_in_an_error_of_ours(fetch: Fetch, content: bytes) -> None:
    error = refused_somehow(fetch, content)
    assert error.code in ("archive_invalid", "archive_unsafe", "archive_too_large")


def refused_somehow(fetch: Fetch, content: bytes) -> SourceError:
    with pytest.raises(SourceError) as caught:
        fetch(content)
    return caught.value


def zeros(size: int) -> tarfile.TarInfo:
    return member("zeros", size=size)[0]


def test_ten_gigabytes_out_of_a_few_kilobytes_are_refused_long_before_they_are_written(
    fetch: Fetch, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "DISK_SHARE", 1000)  # the ratio alone must do
    monkeypatch.setattr(unpack, "MODEST_SIZE", 1 << 20)
    bomb = bz2.compress(GOOD[:1024] + zeros(10 << 30).tobuf() + bytes(64 << 20))
    assert len(bomb) < 4096
    refused(fetch, bomb, "archive_too_large", "200 times its size")
    assert os.path.getsize(os.path.join(workspace.context, "zeros")) < 4 << 20


def test_what_is_large_but_not_packed_small_is_unpacked(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "MODEST_SIZE", 1 << 10)
    tree = fetch(tar(member("large", bytes(8 << 20)), DOCKERFILE))
    assert os.path.getsize(os.path.join(tree.context, "large")) == 8 << 20


def test_many_small_files_count_together(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "MODEST_SIZE", 1 << 20)
    archive = tar(DOCKERFILE, *(member(f"{n}", bytes(64 << 10)) for n in range(100)))
    refused(fetch, bz2.compress(archive), "archive_too_large", "200 times its size")
    assert fetch(archive).context


def test_what_does_not_fit_the_disk_is_refused_before_it_is_written(
    fetch: Fetch, workspace: Workspace
) -> None:
    space = os.statvfs(workspace.path)
    size = space.f_bavail * space.f_frsize + (64 << 20)
    refused(fetch, GOOD[:1024] + zeros(size).tobuf(), "archive_too_large", "not enough space")


def test_a_sparse_file_counts_with_its_holes(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "DISK_SHARE", 1000)
    monkeypatch.setattr(unpack, "MODEST_SIZE", 1 << 20)
    records = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(10 << 30), "GNU.sparse.numblocks": "1"}
    refused(fetch, tar(DOCKERFILE, member("a", b"x", pax_headers=records)), "archive_too_large")


@pytest.mark.parametrize(
    "members",
    [
        [member(f"{n}") for n in range(100)],
        [folder(f"{n}") for n in range(100)],
        [symlink(f"{n}", "x") for n in range(100)],
        [hard_link(f"{n}", "Dockerfile") for n in range(100)],
        [member("/".join(map(str, range(50 * n, 50 * n + 50)))) for n in range(2)],
    ],
    ids=["files", "folders", "links", "hard links", "folders of files"],
)
def test_more_files_and_folders_than_may_be_are_refused(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    def unpacked(limits: SourceLimits) -> None:
        content = io.BytesIO(tar(DOCKERFILE, *members))
        file = RemoteFile(to_url("/archive.tar"))
        unpack.unpack(content, Body(content, file), str(tmp_path / str(limits.files)), limits)

    for files in (100, 101):
        (tmp_path / str(files)).mkdir()
    with pytest.raises(SourceError, match="more than 100 files and folders") as caught:
        unpacked(SourceLimits(files=100))
    assert caught.value.code == "archive_too_large"
    assert sum(len(names) + len(files) for _, names, files in os.walk(tmp_path / "100")) <= 100
    unpacked(SourceLimits(files=101))


def test_a_small_archive_does_not_take_a_file_system_by_its_folders(
    fetch: Fetch, workspace: Workspace
) -> None:
    bomb = lzma.compress(tar(DOCKERFILE, *(member(f"{n}/" + "a/" * 126 + "b") for n in range(400))))
    assert len(bomb) < 20_000
    refused(fetch, bomb, "archive_too_large", "files and folders than fit into")
    assert sum(len(names) + len(files) for _, names, files in os.walk(workspace.context)) <= 20_001


def test_what_follows_the_end_is_neither_unpacked_nor_written(fetch: Fetch, workspace: Workspace) -> None:
    fetch(bz2.compress(GOOD + bytes(32 << 20)) + bz2.compress(tar(member("late"))))
    assert os.listdir(workspace.context) == ["Dockerfile"]


def test_xz_that_wants_more_memory_than_allowed_is_refused(fetch: Fetch) -> None:
    refused(fetch, _with_large_dictionary(lzma.compress(GOOD)), "archive_invalid", "emory")


def _with_large_dictionary(packed: bytes) -> bytes:
    """xz's block header says how large its dictionary is: one byte, covered by the header's CRC."""
    start = 12
    size = (packed[start] + 1) * 4
    block = bytearray(packed[start : start + size - 4])
    position = block.index(b"\x21\x01") + 2
    block[position] = 38  # 1 GiB
    return packed[:start] + bytes(block) + zlib.crc32(block).to_bytes(4, "little") + packed[start + size :]


def test_zstd_is_wanted_only_for_what_needs_it(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = COMPRESS["zstd"](GOOD)
    monkeypatch.setenv("PATH", "/nonexistent")
    refused(fetch, packed, "zstd_missing", "Install zstd")
    assert fetch(GOOD).context


def test_a_checksum_is_that_of_the_archive_as_it_came(fetch: Fetch) -> None:
    packed = gzip.compress(GOOD)
    wanted = fetch(packed).revision
    assert fetch(packed, checksum=wanted).revision == wanted
    refused(fetch, gzip.compress(GOOD, 1, mtime=1), "checksum_mismatch", wanted, checksum=wanted)


def test_a_second_try_finds_nothing_of_the_first(fetch: Fetch, workspace: Workspace) -> None:
    refused(fetch, tar(member("left"), member("../x")), "archive_unsafe")
    fetch(GOOD)
    assert os.listdir(workspace.context) == ["Dockerfile"]


NAMES = st.one_of(
    st.sampled_from(
        ["a", "b", "a/b", "a/b/c", "b/a", "./a", "../outside/file", "/tmp/x", "..", "a/..", ".", "a//b"]
    ),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
)
MEMBERS = st.lists(
    st.tuples(
        st.sampled_from(
            [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]
        ),
        NAMES,
        st.one_of(NAMES, st.just("OUTSIDE"), st.just("OUTSIDE/file")),
        st.binary(max_size=20),
        st.integers(0, 0o7777),
    ),
    max_size=8,
)


@fuzz.examples(1500)
@given(
    members=MEMBERS,
    format=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    flips=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=4),
    packed=st.booleans(),
)
def test_no_archive_writes_outside_or_fails_in_another_way_than_ours(
    fetch: Fetch,
    workspace: Workspace,
    outside: Path,
    members: list[tuple[bytes, str, str, bytes, int]],
    format: int,
    flips: list[tuple[int, int]],
    packed: bool,
) -> None:
    made = []
    for kind, name, target, content, mode in members:
        content = content if kind == tarfile.REGTYPE else b""
        target = target.replace("OUTSIDE", str(outside))
        made.append(member(name, content, type=kind, linkname=target, mode=mode))
    archive = bytearray(tar(DOCKERFILE, *made, format=format))
    if packed:
        archive = bytearray(gzip.compress(bytes(archive)))
    for position, value in flips:
        archive[position % len(archive)] = value
    tree: Optional[SourceTree] = None
    code = "archive_"
    try:
        tree = fetch(bytes(archive))
    except SourceError as error:
        code = error.code
    assert code.startswith(("archive_", "no_dockerfile", "path_outside"))
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"file": "untouched"}
    assert sorted(os.listdir(workspace.path)) == [".image-builder-workspace", "context"]
    for path in Path(workspace.context).rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISLNK(mode)
        assert stat.S_ISLNK(mode) or not mode & 0o7000
    assert tree is None or os.path.isfile(tree.dockerfile) or tree.image
