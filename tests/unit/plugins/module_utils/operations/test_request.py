# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""One request in this process, under the operator's policy."""

from __future__ import annotations

import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import accept_document
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuilderError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations import request
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import Address, Policy


def public(address: Address) -> bool:
    return address.is_global


@pytest.mark.parametrize(
    "source",
    [
        {"git_repo": {"url": "http://127.0.0.1:{port}/app.git"}},
        {"git_repo": {"url": "git://127.0.0.1:{port}/app.git"}},
        {"git_repo": {"url": "ssh://git@127.0.0.1:{port}/app.git"}},
        {"dockerfile": {"url": "http://127.0.0.1:{port}/Dockerfile"}},
        {"tar": {"url": "http://127.0.0.1:{port}/app.tar"}},
    ],
    ids=["git", "git's own", "ssh", "dockerfile", "tar"],
)
def test_no_source_is_fetched_from_where_the_policy_does_not_reach(
    source: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    policy = Policy(reach=public)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        named = {kind: {"url": part["url"].format(port=port)} for kind, part in source.items()}
        target = {"images": [{"image": "app"}], "registry": {"url": "registry.example.com"}}
        document = accept_document({"source": named, "target": target}, policy)
        with pytest.raises(BuilderError) as caught:
            request.carry_out(document, SILENT, policy=policy)
        assert caught.value.code == "address_forbidden"
        with pytest.raises(BlockingIOError):
            server.accept()
    assert list(tmp_path.iterdir()) == []
