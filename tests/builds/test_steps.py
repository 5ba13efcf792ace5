# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What an image says of how its steps are run, as the steps themselves see it."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.engine.buildx import version_numbers
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import DockerfileError

from tests.builds.site import Site, states

pytestmark = [pytest.mark.engine, pytest.mark.each_engine]

SEEN = (
    "RUN { ls /sys/class/net; echo; cat /etc/hosts; echo; ulimit -n; df -k /dev/shm | tail -n 1; } > /seen\n"
)


def dockerfile(site: Site) -> str:
    return f"FROM {site.engine.registry}/library/alpine:3.18\n{SEEN}"


def buildx_version(site: Site) -> tuple[int, ...]:
    told = subprocess.run([site.engine.buildx, "version"], capture_output=True, text=True, check=True).stdout
    return version_numbers(told.partition(" ")[2])


@pytest.mark.parametrize(
    ("asked", "first_buildx"),
    [({"network": "none"}, (0, 17)), ({"network": "host"}, (0, 17)), ({"add_hosts": {"db": "::5"}}, (0, 25))],
    ids=str,
)
def test_what_buildx_is_too_old_for_is_an_error_of_the_image(
    site: Site, asked: dict[str, Any], first_buildx: tuple[int, ...]
) -> None:
    site.write(Dockerfile=dockerfile(site))
    planned = site.build({"image": "plain"}, {"image": "asking", **asked}, plan_only=True)
    if buildx_version(site) >= first_buildx:
        assert states(planned) == ["pending", "pending"]
    else:
        assert states(planned) == ["pending", "failed"]
        (error,) = (result.error for result in planned.results if result.error)
        assert (error.code, next(iter(asked)) in error.message) == ("buildx_too_old", True)


def test_steps_have_the_network_hosts_and_limits_that_the_image_asks_for(site: Site) -> None:
    site.write(Dockerfile=dockerfile(site))
    wanted: dict[str, dict[str, Any]] = {
        "plain": {},
        "limits": {"shm_size": "24m", "ulimits": {"nofile": "1001:1002"}},
    }
    if buildx_version(site) >= (0, 25):
        wanted["cut-off"] = {"network": "none"}
        wanted["host"] = {"network": "host"}
        wanted["named"] = {"add_hosts": {"db.example": "10.1.2.3", "two": ["10.1.2.4", "fd00::1"]}}
    images = [{"image": name, **asked} for name, asked in wanted.items()]
    site.build_ok(*images)
    seen = {name: site.pushed(name).read("/seen") for name in wanted}
    interfaces = {name: set(text.partition("\n\n")[0].split()) for name, text in seen.items()}
    assert len(interfaces["plain"]) > 1
    assert ("\n1001\n" in seen["limits"], " 24576 " in seen["limits"]) == (True, True)
    assert not any("\n1001\n" in text or " 24576 " in text for name, text in seen.items() if name != "limits")
    if "host" in wanted:
        assert interfaces["cut-off"] == {"lo"}
        assert len(interfaces["host"]) > 2
        named = {tuple(line.split()) for line in seen["named"].splitlines()}
        assert {("10.1.2.3", "db.example"), ("10.1.2.4", "two"), ("fd00::1", "two")} <= named

    assert site.rebuilt(*images) == set()
    for name, asked in wanted.items():
        assert site.rebuilt({"image": name}) == ({name} if asked else set()), name


def test_a_step_that_wants_the_machines_network_is_told_how_to_get_it(site: Site) -> None:
    site.write(Dockerfile=dockerfile(site).replace("RUN", "RUN --network=host"))
    (failed,) = site.build({"image": "plain"}).results
    assert failed.error is not None
    assert (failed.error.code, "network: host" in failed.error.hint) == ("not_allowed", True)
    if buildx_version(site) >= (0, 17):
        site.build_ok({"image": "host", "network": "host"})
        assert len(site.pushed("host").read("/seen").partition("\n\n")[0].split()) > 2


def test_the_named_stages_are_built_again_and_no_other(site: Site) -> None:
    base = f"{site.engine.registry}/library/alpine:3.18"
    # Equal steps would be one to BuildKit.
    random = "head -c 16 /dev/urandom | sha256sum > /mark\n"
    site.write(
        Dockerfile=f"FROM {base} AS kept\nRUN : kept; {random}"
        f"FROM {base} AS Fresh\nRUN : fresh; {random}COPY --from=kept /mark /kept\n"
    )
    plain = {"image": "app"}
    filtered = {**plain, "no_cache_filter": ["FRESH"]}

    def marks() -> tuple[str, str]:
        return site.pushed("app").read("/kept"), site.pushed("app").read("/mark")

    site.build_ok(plain)
    before = marks()
    assert site.rebuilt(filtered) == {"app"}
    site.build_ok(filtered)
    after = marks()
    assert (after[0] == before[0], after[1] == before[1]) == (True, False)

    with pytest.raises(DockerfileError) as caught:
        site.build({**plain, "no_cache_filter": ["other"]}, plan_only=True)
    assert (caught.value.code, "fresh" in caught.value.hint) == ("unknown_target", True)
