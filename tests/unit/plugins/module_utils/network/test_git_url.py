# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.git_url import (
    check_url,
    credential_scope,
    host_and_port,
    join,
    ssh_place,
    transport,
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/team/app.git", "https"),
        ("http://localhost:8080/app", "http"),
        ("ssh://git@host.example:2222/team/app", "ssh"),
        ("ssh://git@[::1]/app", "ssh"),
        ("git://host/app", "git"),
        ("file:///srv/my repositories/app", "file"),
        ("git@github.com:team/app.git", "ssh"),
        ("host:app", "ssh"),
    ],
)
def test_the_transports_of_git_are_accepted(url: str, expected: str) -> None:
    check_url(url)
    assert transport(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "--upload-pack=touch x",
        "-oProxyCommand=touch x@host:app",
        "ext::sh -c touch% x",
        "fd::17",
        "https::x",
        "::x",
        "ftp://host/app",
        "HTTPS://host/app",
        "/srv/app",
        "app",
        "file://host/app",
        "file:relative",
        "https://host",
        "https://host/",
        "https:///app",
        "https://host:0/app",
        "https://host:99999/app",
        "https://host:/app",
        "https://host/app?private=1",
        "https://host/app#main:sub",
        "ssh://-oProxyCommand=x/app",
        "ssh://%2doProxyCommand=x/app",
        "ssh://-l@host/app",
        "git@-oProxyCommand=x:app",
        "-l@host:app",
        "git@host:-app",
        "git@host:",
        "https://host/app\n",
        "https://host/app%0aurl=https://other",
        "https://host/a\0b",
        " https://host/app",
    ],
)
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^.+$"):
        check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://s3cret@host/app",
        "https://user:s3cret@host/app",
        "https://user:a/s3cret@host/app",
        "https://user:s3cret/a@host/app",
        "http://:s3cret@host/app",
        "git://user:s3cret@host/app",
        "ssh://user:s3cret@host/app",
        "ssh://user:s3cret/a@host/app",
        "user:s3cret@host:app/",
        "https:s3cret@host/app",
        "https://host?token=s3cret",
        "https://host?token=s3cret/app",
        "https://host/app?token=s3cret",
        "git://host?token=s3cret/app",
        "ssh://s3cret!@host/app",
        "s3cret!@host:app",
    ],
)
def test_a_credential_in_an_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        check_url(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://github.com/team/app.git", ("github.com", 443)),
        ("http://localhost:8080/app", ("localhost", 8080)),
        ("ssh://git@host.example:2222/team/app", ("host.example", 2222)),
        ("ssh://git@[::1]/app", ("::1", 22)),
        ("git@[::1]:team/app.git", ("::1", 22)),
        ("git://host/app", ("host", 9418)),
        ("git@github.com:team/app.git", ("github.com", 22)),
        ("https://user:pass@word@proxy.example/app", ("proxy.example", 443)),
        ("file:///srv/my repositories/app", None),
        ("/srv/app", None),
        ("./team:app", None),
    ],
)
def test_the_host_and_the_port_of_an_address_are_those_that_git_connects_to(
    url: str, expected: tuple[str, int] | None
) -> None:
    assert host_and_port(url) == expected


def test_a_password_is_for_its_scheme_host_and_port() -> None:
    assert credential_scope("https://host:8443/team/app.git") == "https://host:8443"
    assert credential_scope("http://host/app") == "http://host"
    assert credential_scope("ssh://git@host/app") is None
    assert credential_scope("git@host:app") is None


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        ("https://host/team/app.git", "../lib.git", "https://host/team/lib.git"),
        ("https://host/team/app.git/", "./../lib.git", "https://host/team/lib.git"),
        ("https://host/team/app", "./lib", "https://host/team/app/lib"),
        ("https://host/team/app", "../../other/lib", "https://host/other/lib"),
        ("git@host:team/app", "../lib", "git@host:team/lib"),
        ("git@host:app", "../lib", "git@host:lib"),
        ("file:///srv/app", "../lib", "file:///srv/lib"),
        ("https://host/app", "https://other/lib", "https://other/lib"),
    ],
)
def test_relative_submodule_addresses_start_from_the_parent(parent: str, child: str, expected: str) -> None:
    assert join(parent, child) == expected


def test_a_submodule_address_above_the_parents_host_is_refused() -> None:
    with pytest.raises(ValueError, match="leads above"):
        join("git@host:app", "../../../../lib")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ssh://git@host.example:2222/team/app", ("git@host.example", "2222", "/team/app")),
        ("ssh://host/~me/app", ("host", None, "~me/app")),
        ("ssh://git@[::1]/app", ("git@::1", None, "/app")),
        ("git@github.com:team/app.git", ("git@github.com", None, "team/app.git")),
        ("[::1]:app", ("::1", None, "app")),
    ],
)
def test_an_ssh_address_is_taken_apart_as_git_does(url: str, expected: tuple[str, str | None, str]) -> None:
    assert ssh_place(url) == expected
