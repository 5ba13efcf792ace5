# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Kinds of sources: what one needs, and when it is asked to fetch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional, get_args

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import (
    Archive,
    GitRepo,
    RemoteFile,
    Source,
    StandaloneDockerfile,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT, Lines, Listener
from ansible_collections.sodalite.image_builder.plugins.module_utils.policy import Policy
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources import kinds, memory
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.tree import (
    Identity,
    Known,
    SourceTree,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import Workspace

from tests.support.files import file_server

KNOWN = Known("FROM scratch\n", "Dockerfile", "sha256:x", 7)


@dataclass(frozen=True)
class Bucket:
    """A source of a kind that only this test knows."""

    url: str = "bucket://b"


@dataclass
class Buckets:
    """The kind: ``identity`` is told before the fetch, ``tree`` is fetched."""

    tree: SourceTree
    identity: Optional[Identity]
    fetched: list[Optional[Identity]] = field(default_factory=list)

    def identify(self, source: Bucket, listener: Listener, policy: Policy) -> Optional[Identity]:
        return self.identity

    def fetch(
        self,
        source: Bucket,
        identity: Optional[Identity],
        workspace: Workspace,
        listener: Listener,
        policy: Policy,
    ) -> SourceTree:
        self.fetched.append(identity)
        return self.tree


@pytest.fixture
def buckets(home: Any, monkeypatch: pytest.MonkeyPatch) -> Buckets:
    tree = SourceTree("/root", "/root", "/root/Dockerfile", "r1", 7, "bucket://b")
    identity = Identity("r1", url="bucket://b", name="the bucket b", made_of=("bucket://b", "r1"))
    made = Buckets(tree, identity)
    monkeypatch.setattr(kinds, "KINDS", {Bucket: lambda: made})
    return made


def fetch_lazily(workspace: Workspace, told: list[str] | None = None) -> SourceTree:
    """Fetch as one request does, and remember as its plan does."""
    source: Any = Bucket()
    tree = kinds.fetch_unless_known(source, workspace, Lines(([] if told is None else told).append))
    if tree.memory:
        memory.remember(tree.memory, KNOWN)
    return tree


def test_each_type_of_source_has_its_kind() -> None:
    assert set(kinds.KINDS) == set(get_args(Source))


@pytest.mark.parametrize(
    "named",
    [GitRepo, lambda url: StandaloneDockerfile(RemoteFile(url)), lambda url: Archive(RemoteFile(url))],
)
def test_no_kind_connects_to_an_address_that_the_operator_forbids(
    workspace: Workspace, tmp_path: Path, named: Callable[[str], Source]
) -> None:
    policy = Policy(reach=lambda address: not address.is_loopback)
    with file_server(tmp_path) as server:
        for fetch in (kinds.fetch, kinds.fetch_unless_known):
            with pytest.raises(SourceError) as caught:
                fetch(named(f"{server.url}/app"), workspace, SILENT, policy)
            assert (caught.value.code, caught.value.retryable) == ("address_forbidden", False)
        assert server.requests == []


def test_a_revision_that_an_earlier_run_remembered_is_not_fetched(
    buckets: Buckets, workspace: Workspace
) -> None:
    told: list[str] = []
    assert fetch_lazily(workspace, told).known is None
    assert told == []
    tree = fetch_lazily(workspace, told)
    assert (tree.known, tree.revision, tree.committed_at, tree.url) == (KNOWN, "r1", 7, "bucket://b")
    assert told == ["the bucket b is at r1, as in an earlier run"]
    assert buckets.fetched == [buckets.identity]


def test_a_fetch_that_was_asked_for_fetches_what_is_remembered(
    buckets: Buckets, workspace: Workspace
) -> None:
    fetch_lazily(workspace)
    source: Any = Bucket()
    assert kinds.fetch(source, workspace, Lines(print)).memory == ""
    kinds.fetch(source, workspace, Lines(print), revision="r1")
    assert buckets.fetched == [buckets.identity, None, Identity("r1")]


def test_what_only_fetching_can_tell_is_fetched_each_time(buckets: Buckets, workspace: Workspace) -> None:
    buckets.identity = None
    assert [fetch_lazily(workspace).memory, fetch_lazily(workspace).memory] == ["", ""]
    assert buckets.fetched == [None, None]


def test_what_changed_between_the_two_questions_is_not_remembered_under_the_first_answer(
    buckets: Buckets, workspace: Workspace
) -> None:
    buckets.tree = replace(buckets.tree, revision="r2")
    fetch_lazily(workspace)
    fetch_lazily(workspace)
    assert len(buckets.fetched) == 2


def test_a_warning_is_told_each_time(buckets: Buckets, workspace: Workspace) -> None:
    buckets.tree = replace(buckets.tree, warnings=("Mind this.",))
    assert [fetch_lazily(workspace).warnings for _ in range(2)] == [("Mind this.",)] * 2
