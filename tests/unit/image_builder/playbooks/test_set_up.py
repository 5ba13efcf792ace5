# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_document

from image_builder.playbooks import set_up
from tests.support.files import file_server


def test_a_task_is_told_when_it_lasts_and_not_when_it_is_over_at_once() -> None:
    told: list[str] = []
    tasks = set_up.Tasks(told.append)
    tasks.lasts()
    for line in ("TASK [sodalite.image_builder.engine : Quick] ***", "ok: [localhost]", ""):
        tasks.take(line)
    tasks.take("TASK [sodalite.image_builder.engine : Download it] ***")
    tasks.lasts()
    tasks.lasts()
    tasks.take("changed: [localhost]")
    tasks.lasts()
    assert told == ["  engine: Download it"]


def test_why_a_release_is_passed_over_is_told() -> None:
    told: list[str] = []
    tasks = set_up.Tasks(told.append)
    tasks.take("[WARNING]: No inventory was parsed, only implicit localhost is available")
    tasks.take("TASK [sodalite.image_builder.engine : Keep the private engine running] ***")
    tasks.take("[WARNING]: Debian testing is passed over, since it cannot be fetched: no route.")
    tasks.lasts()
    assert told == [
        "  Debian testing is passed over, since it cannot be fetched: no route.",
        "  engine: Keep the private engine running",
    ]


def test_the_local_registry_is_asked_itself_whatever_proxy_the_environment_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setattr(set_up.engine, "find", lambda builder: None)
    tags = tmp_path / "v2" / "library" / "alpine" / "tags" / "list"
    with file_server(tmp_path) as server:
        host = server.url.removeprefix("http://")
        monkeypatch.setattr(set_up, "REGISTRY", host)
        document = accept_document(
            {
                "source": {"git_repo": {"url": "https://git.example.org/app.git"}},
                "target": {"images": [{"image": "app"}], "registry": {"url": host}},
            }
        )
        assert not set_up.is_ready(document)
        tags.parent.mkdir(parents=True)
        tags.touch()
        assert set_up.is_ready(document)
