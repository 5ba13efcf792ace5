# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.sodalite.image_builder.plugins.module_utils.machine.free_network import network_for

#: As the kernel writes it on a machine of little-endian byte order: a default route, and 10.213.0.0/16.
ROUTES = (
    "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
    "eth0 00000000 0100000A 0003 0 0 0 00000000 0 0 0\n"
    "eth0 0000D50A 00000000 0001 0 0 0 0000FFFF 0 0 0\n"
)


def test_a_new_engine_gets_a_network_that_no_route_touches(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(ROUTES)
    assert network_for(tmp_path / "missing", tmp_path / "route") == "10.214.240.0/20"


def test_an_engine_keeps_the_network_it_has(tmp_path: Path) -> None:
    configuration = tmp_path / "daemon.json"
    configuration.write_text(json.dumps({"default-address-pools": [{"base": "10.9.0.0/16", "size": 24}]}))
    (tmp_path / "route").write_text(ROUTES)
    assert network_for(configuration, tmp_path / "route") == "10.9.0.0/16"


def test_a_configuration_that_says_nothing_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "route").write_text(ROUTES.splitlines()[0] + "\n")
    for text in ("{", "{}", '{"default-address-pools": []}'):
        (tmp_path / "daemon.json").write_text(text)
        assert network_for(tmp_path / "daemon.json", tmp_path / "route") == "10.213.240.0/20"
