# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Which CAs are trusted."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.network import http
from ansible_collections.sodalite.image_builder.plugins.module_utils.network.tls import (
    SYSTEM,
    Tls,
    new_context,
)

from tests.unit.registries import make_certificate, serving


def test_where_an_engines_ca_is_named_no_other_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("system", "engine"):
        (tmp_path / f"{name}.pem").write_bytes(make_certificate(tmp_path / name).path.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "system.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    keys = tmp_path / "keys"
    keys.mkdir()
    of_system = new_context(Tls(keys=str(keys))).get_ca_certs(binary_form=True)
    assert of_system == new_context(SYSTEM).get_ca_certs(binary_form=True) != []
    (tmp_path / "engine.pem").rename(keys / "ca.pem")
    of_engine = new_context(Tls(keys=str(keys))).get_ca_certs(binary_form=True)
    assert len(of_engine) == 1
    assert of_engine != of_system


def test_a_file_of_the_working_directory_is_not_taken_for_an_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").touch()
    monkeypatch.chdir(tmp_path)
    assert SYSTEM.file("ca.pem") is None


def test_where_no_tls_is_spoken_no_certificates_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Tls] = []
    monkeypatch.setattr(http, "new_context", read.append)
    with (
        serving(lambda _: (200, {}, b"x")) as server,
        http.HttpClient() as client,
        client.request("GET", f"http://{server.host}/", {}) as answer,
    ):
        assert answer.read_all(1) == b"x"
    assert read == []
