# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

from image_builder.playbooks import set_up


def test_a_task_is_told_when_it_lasts_and_not_when_it_is_over_at_once() -> None:
    told: list[str] = []
    tasks = set_up.Tasks(told.append)
    tasks.lasts()
    for line in ("TASK [sodalite.image_builder.engine : Quick] ***", "ok: [localhost]", ""):
        tasks.take(line)
    tasks.take("TASK [sodalite.image_builder.engine : Download it] ***")
    tasks.lasts()
    tasks.lasts()
    tasks.take("changed: [localhost]")
    tasks.lasts()
    assert told == ["  engine: Download it"]
