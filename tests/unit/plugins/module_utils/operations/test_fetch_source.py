# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

from pathlib import Path

from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import (
    Folder,
    RemoteFile,
    StandaloneDockerfile,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)


def test_workspaces_may_lie_in_the_home_folder(tmp_path: Path, home: Path) -> None:
    (home / "work").mkdir()
    (tmp_path / "Dockerfile").write_text("FROM scratch\n", encoding="utf-8")
    dockerfile = RemoteFile((tmp_path / "Dockerfile").as_uri())
    fetched = fetch_source(StandaloneDockerfile(dockerfile, Folder(str(tmp_path))), "~/work", SILENT)
    assert Path(fetched.workspace).parent == home / "work"
    assert remove_source(fetched.workspace)
    assert not Path(fetched.workspace).exists()
