# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
from __future__ import annotations

import datetime

from ansible_collections.sodalite.image_builder.plugins.action.document import _plain


def test_a_date_that_yaml_made_of_a_tag_is_the_text_again() -> None:
    assert _plain({"tag": datetime.date(2026, 1, 31), "pull": None}) == {"tag": "2026-01-31", "pull": None}
