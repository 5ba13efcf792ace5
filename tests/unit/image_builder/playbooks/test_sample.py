# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError

from image_builder.playbooks import sample as samples
from image_builder.playbooks.collection import ROOT
from image_builder.playbooks.set_up import REGISTRY


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "cache" / "hello.git"
    monkeypatch.setattr(samples, "SAMPLE", place)
    return place


def head(repository: Path) -> str:
    return subprocess.check_output(["git", "-C", str(repository), "rev-parse", "main"], text=True).strip()


def test_hello_names_the_sample_repository() -> None:
    document = yaml.safe_load((ROOT / "inputs" / "hello.yaml").read_text())
    assert document["source"]["git_repo"]["url"] == samples.SAMPLE.as_uri()
    assert document["target"]["registry"]["url"] == REGISTRY


def test_the_sample_repository_has_the_samples_files(sample: Path) -> None:
    samples.make_sample_repository()
    files = subprocess.check_output(["git", "-C", str(sample), "ls-tree", "--name-only", "main"], text=True)
    assert files.split() == sorted(path.name for path in (ROOT / "samples" / "hello").iterdir())
    assert os.listdir(sample.parent) == ["hello.git"]


def test_the_sample_repository_has_the_same_commit_whatever_git_is_set_to(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples.make_sample_repository()
    first = head(sample)
    settings = tmp_path / "gitconfig"
    settings.write_text("[commit]\ngpgSign = true\n[init]\ndefaultBranch = trunk\n[core]\nautocrlf = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    sample.rename(tmp_path / "old.git")
    samples.make_sample_repository()
    assert head(sample) == first


def test_a_changed_sample_takes_the_old_ones_place(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples.make_sample_repository()
    old = head(sample)
    changed = tmp_path / "root"
    (changed / "samples" / "hello").mkdir(parents=True)
    (changed / "samples" / "hello" / "Dockerfile").write_text("FROM scratch\n")
    monkeypatch.setattr(samples, "ROOT", changed)
    samples.make_sample_repository()
    assert head(sample) != old
    assert os.listdir(sample.parent) == ["hello.git"]


def test_a_place_that_cannot_be_written_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "hello.git"
    monkeypatch.setattr(samples, "SAMPLE", place)
    with pytest.raises(SourceError, match=str(place)):
        samples.make_sample_repository()


def test_a_git_that_fails_is_an_error_with_its_words(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "git").write_text("#!/bin/sh\necho 'fatal: not today' >&2\nexit 128\n")
    (programs / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(SourceError, match="fatal: not today"):
        samples.make_sample_repository()
    assert os.listdir(sample.parent) == []
