# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The watch that every end-to-end test relies on sees what it is there to see."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support import leaks
from tests.support.leaks import new_secret

_FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda secret: secret,
    "in a URL": lambda secret: f"https://user:{quote(secret, safe='')}@example.org/",
    "in an Authorization header": lambda secret: base64.b64encode(f"user:{secret}".encode()).decode(),
    "alone in Base64": lambda secret: base64.b64encode(secret.encode()).decode(),
}


@pytest.mark.parametrize("form", _FORMS)
def test_a_secret_in_a_file_is_found(form: str, tmp_path: Path) -> None:
    secret = new_secret()
    with leaks.watched(tmp_path) as watch:
        watch.secrets.append(secret)
        watch.assert_no_leak()
        (tmp_path / "file").write_text(_FORMS[form](secret), encoding="utf-8")
    with pytest.raises(AssertionError, match="was left in"):
        watch.assert_no_leak()


def test_a_secret_in_the_arguments_of_a_process_is_found(tmp_path: Path) -> None:
    secret = new_secret()
    with leaks.watched(tmp_path) as watch:
        watch.secrets.append(secret)
        subprocess.run(
            [sys.executable, "-c", "import time; time.sleep(0.5)", f"--password={secret}"], check=True
        )
    with pytest.raises(AssertionError, match="arguments of a process"):
        watch.assert_no_leak()


def test_a_process_that_outlives_its_parent_is_found(tmp_path: Path) -> None:
    leaks.remember_processes()
    with leaks.watched(tmp_path):
        subprocess.run(["sh", "-c", "sleep 301 & echo"], check=True, start_new_session=True)
    orphans = [pid for pid, what in leaks.descendants().items() if what.startswith("sleep 301")]
    subprocess.run(["kill", *map(str, orphans)], check=True)
    assert len(orphans) == 1


def test_a_file_in_the_temporary_folder_is_found(tmp_path: Path) -> None:
    leaks.remember_processes()
    leaks.assert_nothing_left(tmp_path)
    (tmp_path / "image-builder-x").mkdir()
    with pytest.raises(AssertionError, match="left in the temporary folder"):
        leaks.assert_nothing_left(tmp_path)
