# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.turns import Turns
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT, Lines
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
from ansible_collections.sodalite.image_builder.plugins.module_utils.process import pause

A, B, C = (Reference.parse(f"registry.example/{name}:1") for name in "abc")
HOLD = """
import sys, time
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.turns import Turns
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.reference import Reference
with Turns() as turns:
    turns.take([Reference.parse("registry.example/a:1")], SILENT)
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "image-builder"


def test_a_second_build_of_a_tag_waits_says_so_and_plans_again() -> None:
    told: list[str] = []
    waits = threading.Event()

    def wait(seconds: float) -> None:
        waits.set()
        pause(0.01)

    planned_again: list[bool] = []

    def second() -> None:
        with Turns(wait) as turns:
            planned_again.append(turns.take([B, A], Lines(told.append)))

    with Turns() as first:
        assert first.take([A], SILENT) is False
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(30)
        assert planned_again == []
    thread.join(30)
    assert planned_again == [True]
    assert told == ["waiting for another build of registry.example/a:1 on this machine to end"]


def test_other_tags_and_the_same_one_later_do_not_wait() -> None:
    with Turns() as first, Turns() as other:
        assert first.take([A, B], SILENT) is False
        assert other.take([C], SILENT) is False
    with Turns() as later:
        assert later.take([A, B, C], SILENT) is False


def test_a_build_that_ended_between_plan_and_turn_makes_planning_again_worth_it() -> None:
    with Turns() as planned:
        with Turns() as quick:
            quick.take([A], SILENT)
        assert planned.take([A], SILENT) is True


def test_builds_of_two_tags_in_another_order_do_not_wait_for_each_other_for_ever() -> None:
    def build(references: list[Reference]) -> None:
        for _ in range(20):
            with Turns(lambda _: pause(0.001)) as turns:
                turns.take(references, SILENT)

    threads = [threading.Thread(target=build, args=(order,)) for order in ([A, B], [B, A], [C, B, A])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)


def test_the_turn_of_a_killed_build_is_over() -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, env={**os.environ})
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"held\n"

        def kill(seconds: float) -> None:
            holder.send_signal(signal.SIGKILL)
            pause(0.01)

        with Turns(kill) as turns:
            turns.take([A], SILENT)
            assert holder.wait() == -signal.SIGKILL


def test_what_stands_in_the_place_of_the_file_is_not_waited_for(cache: Path) -> None:
    cache.mkdir()
    (cache / "turns").symlink_to("/etc/hostname")
    with Turns() as turns:
        assert turns.take([A], SILENT) is False
    (cache / "turns").unlink()
    os.mkfifo(cache / "turns")
    with Turns() as turns:
        assert turns.take([A], SILENT) is False
