# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import (
    HANDED_ON_SECONDS,
    Workspace,
    remove_stale,
)


def killed_while_working(root: Path) -> Path:
    """The workspace of a process that was killed in the middle of its work."""
    code = (
        "import os, signal, sys\n"
        f"from {Workspace.__module__} import Workspace\n"
        "print(Workspace.create(sys.argv[1]).path, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=False
    )
    return Path(done.stdout.strip())


def age(path: str, seconds: float) -> None:
    marker = Path(path, ".image-builder-workspace")
    content = json.loads(marker.read_text())
    marker.write_text(json.dumps({**content, "since": time.time() - seconds}))


def test_a_workspace_is_private_and_holds_an_empty_source_tree(tmp_path: Path) -> None:
    made = Workspace.create(str(tmp_path))
    assert Path(made.path).parent == tmp_path
    assert Path(made.path).name.startswith("image-builder-")
    assert os.stat(made.path).st_mode & 0o777 == 0o700
    assert os.listdir(made.context) == []
    assert os.stat(made.directory("docker")).st_mode & 0o777 == 0o700


def test_a_root_that_cannot_be_used_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"No such file.*custom_workdir") as refused:
        Workspace.create(str(tmp_path / "missing"))
    assert refused.value.code == "workspace_unusable"


def test_a_workspace_that_was_handed_on_is_opened_with_its_content(tmp_path: Path) -> None:
    first = Workspace.create(str(tmp_path))
    Path(first.context, "Dockerfile").write_text("FROM scratch\n")
    first.hand_on()
    second = Workspace.open(first.path)
    assert (second.path, second.context) == (first.path, first.context)
    assert Path(second.context, "Dockerfile").read_text() == "FROM scratch\n"


def test_a_workspace_in_use_is_not_opened(tmp_path: Path) -> None:
    made = Workspace.create(str(tmp_path))
    with pytest.raises(SourceError) as refused:
        Workspace.open(made.path)
    assert refused.value.code == "workspace_in_use"


def test_only_real_workspaces_are_opened(tmp_path: Path) -> None:
    handed_on = Workspace.create(str(tmp_path))
    handed_on.hand_on()
    without_marker = tmp_path / "image-builder-mine"
    without_marker.mkdir(mode=0o700)
    link = tmp_path / "image-builder-link"
    link.symlink_to(handed_on.path)
    renamed = tmp_path / "other"
    Workspace.create(str(tmp_path)).hand_on()
    other = next(
        p
        for p in tmp_path.iterdir()
        if p.name not in (Path(handed_on.path).name, link.name, without_marker.name)
    )
    other.rename(renamed)
    wide = Workspace.create(str(tmp_path))
    wide.hand_on()
    os.chmod(wide.path, 0o755)
    for path in (
        without_marker,
        link,
        renamed,
        wide.path,
        tmp_path,
        tmp_path / "image-builder-gone",
        "/etc/passwd",
    ):
        with pytest.raises(SourceError) as refused:
            Workspace.open(str(path))
        assert refused.value.code in ("no_workspace", "workspace_unusable"), path
    assert without_marker.exists()


def test_a_marker_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    fake = tmp_path / "image-builder-fake"
    fake.mkdir(mode=0o700)
    (fake / ".image-builder-workspace").symlink_to(target)
    with pytest.raises(SourceError):
        Workspace.open(str(fake))
    assert remove_stale(str(tmp_path)) == []
    assert target.read_text() == "precious"


def test_removal_takes_read_only_directories_and_spares_what_links_lead_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    outside.chmod(0o555)
    made = Workspace.create(str(tmp_path))
    deep = Path(made.context, "a", "b")
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    (deep / "link").symlink_to(outside)
    Path(made.context, "loop").symlink_to(made.context)
    deep.chmod(0o500)
    deep.parent.chmod(0o000)
    as_nobody = os.geteuid() == 0
    if as_nobody:  # root may write everywhere
        for folder, names, files in os.walk(made.path):
            for name in (*names, *files):
                os.lchown(os.path.join(folder, name), 65534, 65534)
        os.chown(made.path, 65534, 65534)
        tmp_path.chmod(0o777)
        for parent in tmp_path.parents:
            if parent.stat().st_uid == 0 and str(parent).startswith("/tmp/"):
                parent.chmod(0o755)
        os.seteuid(65534)
    try:
        made.remove()
    finally:
        if as_nobody:
            os.seteuid(0)
    assert not Path(made.path).exists()
    assert (outside / "precious").read_text() == "keep"
    assert outside.stat().st_mode & 0o777 == 0o555


def test_removing_twice_is_removing_once(tmp_path: Path) -> None:
    made = Workspace.create(str(tmp_path))
    made.remove()
    made.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_end_of_a_block_removes_the_workspace_unless_it_was_handed_on(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Workspace.create(str(tmp_path)):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with Workspace.create(str(tmp_path)) as made:
        made.hand_on()
    assert Path(made.path).is_dir()


def test_what_a_killed_run_left_is_removed_at_once(tmp_path: Path) -> None:
    left = killed_while_working(tmp_path)
    assert left.is_dir()
    assert remove_stale(str(tmp_path)) == [str(left)]
    assert not left.exists()


def test_a_workspace_at_work_or_handed_on_survives(tmp_path: Path) -> None:
    working = Workspace.create(str(tmp_path))
    handed_on = Workspace.create(str(tmp_path))
    handed_on.hand_on()
    assert remove_stale(str(tmp_path)) == []
    assert Path(working.path).is_dir()
    assert Path(handed_on.path).is_dir()


def test_a_workspace_handed_on_and_never_opened_is_removed_after_a_day(tmp_path: Path) -> None:
    forgotten = Workspace.create(str(tmp_path))
    forgotten.hand_on()
    age(forgotten.path, HANDED_ON_SECONDS - 60)
    assert remove_stale(str(tmp_path)) == []
    age(forgotten.path, HANDED_ON_SECONDS + 60)
    assert remove_stale(str(tmp_path)) == [forgotten.path]


def test_a_removal_that_was_killed_is_taken_up_again(tmp_path: Path) -> None:
    left = killed_while_working(tmp_path)
    os.rmdir(left / "context")
    (left / ".image-builder-workspace").write_text("")
    assert remove_stale(str(tmp_path)) == [str(left)]


def test_a_directory_of_the_user_with_such_a_name_is_never_touched(tmp_path: Path) -> None:
    mine = tmp_path / "image-builder-notes"
    mine.mkdir(mode=0o700)
    (mine / "notes").write_text("keep")
    (tmp_path / "image-builder-file").write_text("keep")
    assert remove_stale(str(tmp_path)) == []
    assert (mine / "notes").exists()


@pytest.fixture
def tree(tmp_path: Path) -> Workspace:
    made = Workspace.create(str(tmp_path))
    context = Path(made.context)
    (context / "sub").mkdir()
    (context / "sub" / "Dockerfile").write_text("FROM scratch\n")
    (context / "inner").symlink_to("sub")
    (context / "out").symlink_to("/etc")
    (context / "up").symlink_to("../..")
    (context / "absolute").symlink_to(context / "sub")
    (context / "self").symlink_to("self")
    (context.parent / "context-beside").mkdir()
    (context / "beside").symlink_to("../context-beside")
    return made


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        (".", ""),
        ("sub", "/sub"),
        ("./sub/../sub/Dockerfile", "/sub/Dockerfile"),
        ("inner/Dockerfile", "/sub/Dockerfile"),
        ("absolute/Dockerfile", "/sub/Dockerfile"),
        ("missing/file", "/missing/file"),
    ],
)
def test_a_path_inside_is_resolved(tree: Workspace, relative: str, expected: str) -> None:
    assert tree.path_inside(relative, "workdir") == tree.context + expected


@pytest.mark.parametrize(
    "relative",
    [
        "/etc",
        "..",
        "sub/../../git",
        "out",
        "out/passwd",
        "up",
        "beside",
        "inner/../..",
        "a\0b",
        "a\nb",
        "\x1b[2J",
    ],
)
def test_a_path_that_leads_out_is_refused(tree: Workspace, relative: str) -> None:
    with pytest.raises(SourceError, match="workdir") as refused:
        tree.path_inside(relative, "workdir")
    assert refused.value.code == "path_outside_source"
    assert "\x1b" not in str(refused.value)


def test_a_workspace_handed_on_in_the_future_is_removed_and_one_of_a_clock_that_is_ahead_is_not(
    tmp_path: Path,
) -> None:
    paths = []
    for seconds in (-7200, -60):
        made = Workspace.create(str(tmp_path))
        made.hand_on()
        age(made.path, seconds)
        paths.append(made.path)
    assert remove_stale(str(tmp_path)) == [paths[0]]


@pytest.mark.parametrize(
    "marker",
    ["{", "[" * 4000, '{"state": "handed_on", "since": 1e999}', '{"state": "handed_on", "since": NaN}'],
)
def test_a_marker_that_says_nothing_is_that_of_a_killed_run(tmp_path: Path, marker: str) -> None:
    made = Workspace.create(str(tmp_path))
    made.hand_on()
    Path(made.path, ".image-builder-workspace").write_text(marker)
    assert remove_stale(str(tmp_path)) == [made.path]


def test_a_sweep_waits_for_no_pipe_and_passes_over_what_is_no_workspace(tmp_path: Path) -> None:
    folder = tmp_path / "image-builder-pipe"
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / ".image-builder-workspace")
    os.mkfifo(tmp_path / "image-builder-other")
    (tmp_path / "image-builder-link").symlink_to(tmp_path)
    left = killed_while_working(tmp_path)
    os.mkfifo(left / "context" / "pipe")
    (left / "context" / "link").symlink_to(tmp_path)
    assert remove_stale(str(tmp_path)) == [str(left)]
    assert {path.name for path in tmp_path.iterdir()} == {
        "image-builder-pipe",
        "image-builder-other",
        "image-builder-link",
    }


def test_folders_in_folders_are_removed_however_many(tmp_path: Path) -> None:
    made = Workspace.create(str(tmp_path))
    deep = os.open(made.context, os.O_RDONLY)
    for number in range(3000):
        os.mkdir("d", dir_fd=deep)
        os.close(os.open("file", os.O_CREAT, dir_fd=deep))
        inner = os.open("d", os.O_RDONLY, dir_fd=deep)
        if number % 7 == 0:
            os.chmod(deep, 0o500)
        os.close(deep)
        deep = inner
    os.close(deep)
    os.mkdir(os.path.join(made.context, ".image-builder-removed-0"))
    made.remove()
    assert list(tmp_path.iterdir()) == []
