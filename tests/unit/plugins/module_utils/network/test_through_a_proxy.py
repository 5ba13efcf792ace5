# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A real proxy between: to registries, Dockerfiles and archives, by plain HTTP and through a tunnel."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.source import (
    Archive,
    RemoteFile,
    Source,
    StandaloneDockerfile,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuilderError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry import read
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.client import Registry
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.credentials import Credentials
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.hosts import RegistryHosts
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.push import (
    push_blob,
    push_manifest,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources import download
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.kinds import fetch
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import Workspace

from tests.support.files import FileServer, file_server
from tests.support.proxy import PASSWORD, Proxy, http_proxy
from tests.support.registry import outer_address, registry

DOCKERFILE = "FROM scratch\n"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
INDEX = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}).encode()


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that the environment names, for servers at this machine's outer address."""
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(download, "_FIRST_PAUSE", 0.01)
    # The opener of other tests, once made, is kept, with the proxies of that moment.
    monkeypatch.setattr(urllib.request, "_opener", urllib.request.build_opener())
    with http_proxy(tmp_path / "proxy") as running:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, running.url)
        yield running


@pytest.fixture(params=["http", "https"])
def served(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FileServer]:
    """A Dockerfile, and an archive that holds it and 3 MB that cannot be compressed."""
    content, folder, tls = tmp_path / "content", tmp_path / "served", tmp_path / "tls"
    content.mkdir()
    (content / "Dockerfile").write_text(DOCKERFILE)
    (content / "noise").write_bytes(os.urandom(3 << 20))
    folder.mkdir()
    (folder / "Dockerfile").write_text(DOCKERFILE)
    archive = ["tar", "--create", "--gzip", f"--file={folder / 'app.tar.gz'}", f"--directory={content}", "."]
    subprocess.run(archive, check=True)
    secure = request.param == "https"
    with file_server(folder, host=outer_address(), tls=tls if secure else None) as server:
        if secure:
            monkeypatch.setenv("SSL_CERT_FILE", str(tls / "ca.crt"))
        yield server


def kind(source: str, url: str) -> Source:
    if source == "archive":
        return Archive(RemoteFile(f"{url}/app.tar.gz"))
    return StandaloneDockerfile(RemoteFile(f"{url}/Dockerfile"))


def seen(address: str) -> dict[str, str]:
    """What the proxy's requests to ``host:port`` start with, by scheme."""
    return {"http": f"GET http://{address}/", "https": f"CONNECT {address}"}


def asked(proxy: Proxy) -> list[str]:
    return [" ".join(request) for request in proxy.requests()]


@pytest.mark.parametrize("source", ["dockerfile", "archive"])
def test_a_source_is_fetched_through_the_proxy(
    source: str, served: FileServer, proxy: Proxy, workspace: Workspace
) -> None:
    tree = fetch(kind(source, served.url), workspace, SILENT)
    assert Path(tree.dockerfile).read_text() == DOCKERFILE
    scheme, _, address = served.url.partition("://")
    (request,) = asked(proxy)
    assert request.startswith(seen(address)[scheme])


@pytest.mark.parametrize("source", ["dockerfile", "archive"])
def test_a_server_that_no_proxy_names_is_asked_directly(
    source: str, served: FileServer, proxy: Proxy, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", f"{outer_address()}/32")
    tree = fetch(kind(source, served.url), workspace, SILENT)
    assert Path(tree.dockerfile).read_text() == DOCKERFILE
    assert proxy.requests() == []


@pytest.mark.parametrize("direct", [False, True], ids=["proxy", "no_proxy"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_registry_is_pushed_to_and_read_through_the_proxy(
    scheme: str, direct: bool, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if direct:
        monkeypatch.setenv("no_proxy", outer_address())
    tls = scheme == "https"
    with registry(tmp_path / "registry", host=outer_address(), tls=tls, trusted=False) as server:
        trusted = tmp_path / "certs.d" / server.address
        if server.ca:
            trusted.mkdir(parents=True)
            (trusted / "ca.crt").write_bytes(server.ca.read_bytes())
        hosts = RegistryHosts(secure={server.address: tls}, certificates_folder=str(tmp_path / "certs.d"))
        blob = tmp_path / "blob"
        blob.write_bytes(os.urandom(3 << 20))
        digest = f"sha256:{hashlib.sha256(blob.read_bytes()).hexdigest()}"
        reference = Reference.parse(f"{server.address}/app:1")
        before = len(asked(proxy))  # Who started the registry asked for it.
        # This proxy closes connections without a word, as one may: a file that is sent then is sent again.
        with Registry(hosts, Credentials(), retry_for=30) as client:
            push_blob(client, reference, digest, str(blob))
            push_manifest(client, reference, INDEX_TYPE, INDEX)
            assert read.manifest(client, reference).digest == f"sha256:{hashlib.sha256(INDEX).hexdigest()}"
        requests = asked(proxy)[before:]
        assert server.get(f"app/blobs/{digest}")[1] == blob.read_bytes()
    if direct:
        assert requests == []
    elif tls:
        # One tunnel serves all requests.
        assert requests == [f"CONNECT {server.address}"]
    else:
        assert f"GET http://{server.address}/v2/app/manifests/1" in requests
        assert any(request.startswith(f"PUT http://{server.address}/v2/app/blobs/") for request in requests)


def test_a_proxy_that_refuses_the_login_is_an_error_that_does_not_tell_it(
    served: FileServer, proxy: Proxy, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, proxy.url.replace(PASSWORD, "wrong-word"))
    with pytest.raises(BuilderError) as raised:
        fetch(kind("dockerfile", served.url), workspace, SILENT)
    assert raised.value.code in ("source_unauthorized", "source_unreachable")
    assert "407" in str(raised.value) or "401" in str(raised.value)
    assert "wrong-word" not in str(raised.value)
    assert served.requests == []
