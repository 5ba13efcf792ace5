# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which addresses serve a registry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.registry.hosts import RegistryHosts

# As Docker Engine 26 answers GET /info.
ENGINE = {
    "IndexConfigs": {
        "docker.io": {
            "Mirrors": ["http://mirror.test:5000/"],
            "Name": "docker.io",
            "Official": True,
            "Secure": True,
        },
        "insecure.test:5000": {
            "Mirrors": [],
            "Name": "insecure.test:5000",
            "Official": False,
            "Secure": False,
        },
    },
    "InsecureRegistryCIDRs": ["127.0.0.0/8", "192.0.2.0/24"],
    "Mirrors": ["http://mirror.test:5000/", "https://cache.test/hub"],
}


def test_docker_hub_is_read_from_its_mirrors_first_and_in_order() -> None:
    urls = [endpoint.url for endpoint in RegistryHosts.from_engine(ENGINE).pull("docker.io")]
    assert urls == [
        "http://mirror.test:5000/v2",
        "https://cache.test/hub/v2",
        "https://registry-1.docker.io/v2",
    ]


def test_other_registries_have_no_mirror() -> None:
    urls = [endpoint.url for endpoint in RegistryHosts.from_engine(ENGINE).pull("quay.test")]
    assert urls == ["https://quay.test/v2"]


def test_nothing_is_written_to_a_mirror() -> None:
    assert RegistryHosts.from_engine(ENGINE).push("docker.io").url == "https://registry-1.docker.io/v2"


@pytest.mark.parametrize(
    ("host", "insecure"),
    [
        ("insecure.test:5000", True),
        ("insecure.test", False),
        ("192.0.2.7:5000", True),
        ("192.0.3.7", False),
        ("127.9.9.9:5000", True),
        ("localhost:5000", True),
        ("[::1]:5000", True),
        ("nowhere.invalid", False),
        ("docker.io", False),
    ],
)
def test_a_host_is_insecure_where_the_engine_says_so_or_it_is_this_machine(host: str, insecure: bool) -> None:
    assert RegistryHosts.from_engine(ENGINE).is_insecure(host) is insecure


def test_without_an_engine_its_defaults_hold() -> None:
    hosts = RegistryHosts.from_engine(None)
    assert [endpoint.url for endpoint in hosts.pull("docker.io")] == ["https://registry-1.docker.io/v2"]
    assert hosts.push("127.0.0.1:5000").insecure
    assert not hosts.push("192.0.2.7:5000").insecure


def test_certificates_are_taken_from_the_folder_of_the_host(tmp_path: Path) -> None:
    for name in ("quay.test:5000", "docker.io", "cache.test"):
        (tmp_path / name).mkdir()
    hosts = RegistryHosts.from_engine(ENGINE, certificates_folder=str(tmp_path))
    assert hosts.push("quay.test:5000").certificates == (str(tmp_path / "quay.test:5000"),)
    assert hosts.push("quay.test").certificates == ()
    assert hosts.pull("docker.io")[1].certificates == (
        str(tmp_path / "docker.io"),
        str(tmp_path / "cache.test"),
    )


def test_nothing_leads_from_https_to_plain_http() -> None:
    hosts = RegistryHosts.from_engine(ENGINE)
    for origin in (hosts.push("192.0.3.7"), hosts.push("192.0.2.7")):
        assert hosts.elsewhere(origin, "http", "192.0.3.8") is None
        assert hosts.elsewhere(origin, "http", "192.0.2.8") is None
        found = hosts.elsewhere(origin, "https", "192.0.3.8")
        assert found is not None
        assert found.url == "https://192.0.3.8/v2"


def test_that_a_registry_is_insecure_tells_nothing_of_where_it_leads() -> None:
    hosts = RegistryHosts.from_engine(ENGINE)
    plain = replace(hosts.push("192.0.2.7"), scheme="http")
    assert hosts.elsewhere(plain, "http", "192.0.3.8") is None
    by_tls, listed = hosts.elsewhere(plain, "https", "192.0.3.8"), hosts.elsewhere(plain, "http", "192.0.2.8")
    assert by_tls is not None
    assert not by_tls.insecure
    assert listed is not None
    assert (listed.url, listed.insecure) == ("http://192.0.2.8/v2", True)
