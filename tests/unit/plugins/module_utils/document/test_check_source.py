# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Every kind of source: what is kept of it, and every fault with its path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import (
    accept_document,
    accept_source,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import (
    Archive,
    Folder,
    GitRepo,
    RemoteFile,
    Source,
    StandaloneDockerfile,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import ParameterError
from ansible_collections.sodalite.image_builder.plugins.module_utils.network import file_url
from ansible_collections.sodalite.image_builder.plugins.module_utils.secret import Secret

URL = "https://files.example.com/app/Dockerfile"
REPOSITORY = "https://git.example.com/team/app.git"
DIGEST = f"sha256:{'0a' * 32}"


def check_source(raw: Any) -> Source:
    """The source, checked and its passwords read."""
    return accept_source(raw)[0]


def with_secrets_read(source: Any) -> Any:
    """The source as a document with its secrets read hands it on."""
    target = {"images": [{"image": "a"}], "registry": {"url": "registry.example.com"}}
    return accept_document({"source": source, "target": target}).raw["source"]


def faults(source: Any) -> list[str]:
    with pytest.raises(ParameterError) as caught:
        check_source(source)
    return caught.value.faults


def test_a_dockerfile_is_kept_with_all_its_keys() -> None:
    given = {"url": URL, "username": "me", "password": "secret", "checksum": DIGEST}
    assert check_source({"dockerfile": given}) == StandaloneDockerfile(
        RemoteFile(URL, "me", Secret("secret"), DIGEST)
    )


def test_a_build_context_is_a_repository_with_a_subdir() -> None:
    context = {
        "url": REPOSITORY,
        "version": "v1",
        "username": "me",
        "password": "secret",
        "ssh_key_file": "/key",
        "ssh_known_hosts_file": "/hosts",
        "subdir": "code",
    }
    assert check_source({"dockerfile": {"url": URL}, "build_context": context}) == StandaloneDockerfile(
        RemoteFile(URL),
        GitRepo(REPOSITORY, "v1", "me", Secret("secret"), "/key", "/hosts", workdir="code"),
    )


def test_a_build_context_is_a_folder() -> None:
    source = {"dockerfile": {"url": "file:///srv/Dockerfile"}, "build_context": {"path": "/srv/app"}}
    assert check_source(source) == StandaloneDockerfile(
        RemoteFile("file:///srv/Dockerfile"), Folder("/srv/app")
    )


def test_an_archive_is_kept_with_all_its_keys() -> None:
    given = {"username": "me", "password": "secret", "checksum": DIGEST, "dockerfile": "d", "workdir": "w"}
    url = "https://files.example.com/@team/app.tar.gz?version=1"
    assert check_source({"tar": {"url": url, **given}}) == Archive(
        RemoteFile(url, "me", Secret("secret"), DIGEST), "d", "w"
    )


def test_an_archive_of_this_machine_is_found_by_its_path_whatever_its_name() -> None:
    path = "/srv/ä b/100%#?.tar"
    checked = check_source({"tar": {"path": path, "checksum": DIGEST}})
    assert isinstance(checked, Archive)
    assert checked.file.checksum == DIGEST
    assert file_url.local_path(checked.file.url) == path


def test_null_is_the_same_as_nothing() -> None:
    source = {
        "git_repo": None,
        "dockerfile": {"url": URL, "username": None, "password": None, "checksum": None},
        "build_context": None,
        "tar": None,
    }
    assert check_source(source) == StandaloneDockerfile(RemoteFile(URL))


KINDS = "git_repo, dockerfile (alone or with build_context), or tar"
GIT, DOCKERFILE, TAR = {"url": REPOSITORY}, {"url": URL}, {"path": "/a.tar"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({}, [f"source: expected one kind of source: {KINDS}"]),
        (
            {"git_repo": GIT, "tar": TAR},
            [f"source: expected one kind of source, got git_repo and tar; give {KINDS}"],
        ),
        (
            {"git_repo": GIT, "dockerfile": DOCKERFILE, "build_context": GIT},
            [f"source: expected one kind of source, got git_repo and dockerfile; give {KINDS}"],
        ),
        (
            {"build_context": GIT},
            ["source.build_context: belongs to source.dockerfile, which is missing"],
        ),
        (
            {"git_repo": GIT, "build_context": GIT},
            [
                "source.build_context: belongs to source.dockerfile, which is missing; "
                "git_repo has its own context"
            ],
        ),
        (
            {"tar": {"checksum": "md5:1"}, "build_context": {"url": "ext::sh"}, "git_repo": {}},
            [
                f"source: expected one kind of source, got git_repo and tar; give {KINDS}",
                "source.build_context: belongs to source.dockerfile, which is missing; "
                "git_repo has its own context",
                "source.git_repo.url: is missing",
                "source.build_context.url: the transport of a git address is one of "
                "https, http, ssh, git, file",
                "source.tar.url: is missing; give url, or path for a local file",
                "source.tar.checksum: expected sha256: and 64 hexadecimal digits in lower case",
            ],
        ),
    ],
    ids=["none", "two", "three", "context alone", "context of git", "everything"],
)
def test_exactly_one_kind_of_source_is_wanted(source: Any, expected: list[str]) -> None:
    assert faults(source) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ({"dockerfile": URL}, "source.dockerfile: expected a mapping, got text"),
        ({"dockerfile": {}}, "source.dockerfile.url: is missing"),
        ({"dockerfile": {"urll": URL}}, "source.dockerfile.urll: unknown key; did you mean 'url'?"),
        ({"dockerfile": {"url": URL, "username": "me"}}, "source.dockerfile.password: is missing"),
        (
            {"dockerfile": {"url": URL, "username": "a:b", "password": "x"}},
            "source.dockerfile.username: must not contain a colon",
        ),
        ({"dockerfile": {"url": URL, "password": "a\nb"}}, "source.dockerfile.password: must not contain"),
        (
            {"dockerfile": {"url": URL, "checksum": DIGEST.upper()}},
            "source.dockerfile.checksum: expected sha256:",
        ),
        ({"dockerfile": DOCKERFILE, "build_context": {}}, "source.build_context: expected the url of a git"),
        (
            {"dockerfile": DOCKERFILE, "build_context": {"subdir": "x"}},
            "source.build_context.url: is missing",
        ),
        (
            {"dockerfile": DOCKERFILE, "build_context": {"url": REPOSITORY, "subdir": "../up"}},
            "source.build_context.subdir: '../up' leaves the source",
        ),
        (
            {"dockerfile": DOCKERFILE, "build_context": {"url": REPOSITORY, "version": "--upload-pack=x"}},
            "source.build_context.version: '--upload-pack=x' is not a branch",
        ),
        (
            {"dockerfile": DOCKERFILE, "build_context": {"url": REPOSITORY, "workdir": "x"}},
            "source.build_context.workdir: unknown key",
        ),
        (
            {"dockerfile": DOCKERFILE, "build_context": {"path": "/a", "url": REPOSITORY, "subdir": "x"}},
            "source.build_context: path names a folder of the machine that builds; leave out subdir, url",
        ),
        ({"dockerfile": DOCKERFILE, "build_context": {"path": "a"}}, "source.build_context.path: 'a' is not"),
        ({"tar": {"path": "a.tar"}}, "source.tar.path: 'a.tar' is not absolute"),
        ({"tar": {"path": "/a\0b"}}, "source.tar.path: must not contain"),
        (
            {"tar": {"path": "/a.tar", "url": URL, "password": "x"}},
            "source.tar: path names a file of the machine that builds; leave out url, password",
        ),
        ({"tar": {"path": "/a.tar", "dockerfile": "/etc/passwd"}}, "source.tar.dockerfile: '/etc/passwd'"),
        ({"tar": {"path": "/a.tar", "workdir": "a/../.."}}, "source.tar.workdir: 'a/../..' leaves"),
    ],
    ids=lambda value: value.partition(":")[0] if isinstance(value, str) else "",
)
def test_a_fault_of_a_source_is_named(source: Any, expected: str) -> None:
    assert faults(source)[0].startswith(expected)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "/etc/passwd",
        "Dockerfile",
        "--output=/etc/passwd",
        "file://etc/passwd",
        "file:///a?b",
        "https://",
        "https:///x",
        "https://host:0/x",
        "https://host:99999/x",
        "https://me@host/x",
        "https://me:hunter2@host/x",
        "https://me:hun/ter2@host/x",
        "https://host/x#y",
        "https://host/a b",
        "https://host/a\tb",
        "https://host/a%0d%0aX:b",
        "https://host/ä",
        "https://-host/x",
        "javascript://host/x",
        "HTTPS://host/x",
    ],
)
def test_an_address_that_is_not_one_of_a_file_is_refused_without_its_password(url: str) -> None:
    (found,) = faults({"dockerfile": {"url": url}})
    assert found.startswith("source.dockerfile.url: ")
    assert "hun" not in found


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/x", "https://[::1]:8443/x?token=a@b", "https://host", "file:///a%20b"]
)
def test_other_addresses_are_taken(url: str) -> None:
    check_source({"dockerfile": {"url": url}})


def test_every_password_of_a_source_is_read_where_the_document_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGE_BUILDER_TEST_TOKEN", "token")
    (tmp_path / "key").write_text("key\n", encoding="utf-8")
    env, file = {"env": "IMAGE_BUILDER_TEST_TOKEN"}, {"file": str(tmp_path / "key")}
    source = {
        "dockerfile": {"url": URL, "password": env},
        "build_context": {"url": REPOSITORY, "password": file},
        "tar": None,
    }
    read = with_secrets_read(source)
    assert read == {
        "dockerfile": {"url": URL, "password": "token"},
        "build_context": {"url": REPOSITORY, "password": "key"},
        "tar": None,
    }
    assert with_secrets_read({"tar": {"url": URL, "password": env}})["tar"]["password"] == "token"
    assert json.dumps(source).count("token") == 0
