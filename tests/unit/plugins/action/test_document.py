# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import datetime

from ansible_collections.sodalite.image_builder.plugins.action.document import _plain


def test_what_yaml_made_of_text_and_keys_stays_so_that_it_is_refused() -> None:
    given = {"tag": datetime.date(2026, 1, 31), "pull": None, 1: [2.5, True]}
    assert _plain(given) == given
