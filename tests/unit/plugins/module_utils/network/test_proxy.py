# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which proxy the environment names for a host."""

from __future__ import annotations

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.proxy import proxy_for


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://us%40er:p%3Ass@proxy.test:3128")
    monkeypatch.setenv("no_proxy", "inner.test, .corp.test,10.0.0.0/8,192.0.2.1")


def test_the_proxy_has_an_address_and_the_header_with_its_account() -> None:
    proxy = proxy_for("https", "registry.test:5000")
    assert proxy is not None
    assert proxy.address == "proxy.test:3128"
    assert proxy.headers == {"Proxy-Authorization": "Basic dXNAZXI6cDpzcw=="}


@pytest.mark.parametrize(
    "host",
    [
        "inner.test",
        "inner.test:5000",
        "a.corp.test",
        "10.9.8.7:5000",
        "192.0.2.1",
        "127.0.0.1:5000",
        "[::1]:5000",
    ],
)
def test_exempt_hosts_and_this_machine_are_spoken_to_directly(host: str) -> None:
    assert proxy_for("https", host) is None


def test_localhost_is_spoken_to_directly() -> None:
    assert proxy_for("https", "localhost:5000") is None


def test_a_scheme_without_a_proxy_is_spoken_directly() -> None:
    assert proxy_for("http", "registry.test") is None


def test_a_proxy_of_another_kind_is_refused_without_telling_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:hidden@proxy.test")
    with pytest.raises(ValueError, match="not spoken to by HTTP") as raised:
        proxy_for("https", "registry.test")
    assert "hidden" not in str(raised.value)


def test_a_password_that_looks_like_a_port_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hid/den@proxy.test:3128")
    with pytest.raises(ValueError, match="whose port is not a number") as raised:
        proxy_for("https", "registry.test")
    assert "hid" not in str(raised.value)
