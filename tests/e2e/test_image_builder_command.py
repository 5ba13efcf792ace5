# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""``image-builder build`` and its companions, as a person and as a program run them."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Engine
from tests.support.http import encoded_account
from tests.support.images import Image
from tests.support.leaks import is_running, wait_until_gone
from tests.support.payloads import document
from tests.support.registry import Registry
from tests.support.repositories import repository
from tests.support.run import ROOT, VENV, Machine, Outcome, Run

COMMAND = [str(VENV / "bin" / "python"), "-m", "image_builder"]
PLATFORMS = ["linux/amd64", "linux/arm64"]
DOCKERFILE = "FROM alpine:3.18\nCOPY app.txt /\nRUN sleep 2; uname -m > /arch\n"


def start(machine: Machine, *arguments: str) -> Run:
    folder = machine.folder / uuid.uuid4().hex
    folder.mkdir()
    return Run([*COMMAND, *arguments], folder, folder, machine.environment)


def run(machine: Machine, *arguments: str) -> Outcome:
    outcome = start(machine, *arguments).finish()
    assert "Traceback" not in outcome.output
    return outcome


def run_json(machine: Machine, *arguments: str, status: int = 0) -> Any:
    outcome = run(machine, *arguments, "--json")
    assert outcome.status == status, outcome.output
    return json.loads(outcome.stdout)


@pytest.fixture
def wanted(machine: Machine, local_registry: Registry, tmp_path: Path) -> dict[str, Any]:
    """Two variants of a repository, for a registry that wants a password."""
    machine.secrets.append(local_registry.password)
    repository(tmp_path / "repository", {"Dockerfile": DOCKERFILE, "app.txt": uuid.uuid4().hex})
    name = f"command/{uuid.uuid4().hex[:12]}"
    return document(
        local_registry,
        {"url": f"file://{tmp_path}/repository"},
        {"image": name, "tag": "alpine", "platforms": PLATFORMS},
        {"image": name, "tag": "python", "base": "python:3.8-alpine", "platforms": PLATFORMS},
    )


def written(machine: Machine, wanted: dict[str, Any]) -> str:
    return str(machine.own_file(f"{uuid.uuid4().hex}.json", json.dumps(wanted)))


def test_it_plans_then_builds_then_finds_nothing_to_do(
    machine: Machine, wanted: dict[str, Any], local_registry: Registry, engine: Engine
) -> None:
    inputs, name = written(machine, wanted), wanted["target"]["images"][0]["image"]

    planned = run_json(machine, "plan", inputs)
    assert [image["state"] for image in planned["images"]] == ["pending", "pending"]
    assert name not in local_registry.repositories(), "planning pushed something"
    shown = run(machine, "plan", inputs).stdout
    assert (
        f"{local_registry.address}/{name}:python: to build, {local_registry.address}/{name}:python is"
        in shown
    )
    assert "python:3.8-alpine (for alpine:3.18)" in shown

    built = run_json(machine, "build", inputs)
    assert (built["changed"], built["error"]) == (True, None)
    for entry, tag, planned_entry in zip(
        built["images"], ("alpine", "python"), planned["images"], strict=True
    ):
        image = Image(engine, local_registry, name, tag)
        assert (entry["state"], entry["digest"]) == ("success", image.digest)
        assert entry["bases"] == planned_entry["bases"]
        assert image.read("/arch", "linux/arm64") == "aarch64\n"

    again = run(machine, "build", inputs)
    assert again.status == 0
    assert again.stdout.count(" unchanged") == 2
    assert f"python: {local_registry.address}/{name}@{built['images'][1]['digest']}\n" in again.stdout
    assert "resolving base images" in again.stderr, "progress belongs on standard error"
    assert "the registry holds it already" in run(machine, "plan", inputs).stdout


def test_a_failed_variant_is_named_with_its_line_and_the_other_one_is_pushed(
    machine: Machine, wanted: dict[str, Any], local_registry: Registry, tmp_path: Path
) -> None:
    repository(
        tmp_path / "failing",
        {"Dockerfile": "FROM alpine:3.18\nARG FAIL=no\nRUN [ $FAIL = no ] # of the user\n"},
    )
    wanted["source"]["git_repo"]["url"] = f"file://{tmp_path}/failing"
    wanted["target"]["images"][1]["build_args"] = {"FAIL": "yes"}
    inputs, name = written(machine, wanted), wanted["target"]["images"][0]["image"]

    outcome = run(machine, "build", inputs)
    assert outcome.status == 1
    assert f"error: image {local_registry.address}/{name}:python, platform linux/" in outcome.stderr
    assert "Dockerfile line 3" in outcome.stderr
    assert outcome.stderr.count("error: ") == 1
    excerpt = ["  1 | FROM alpine:3.18", "  2 | ARG FAIL=no", "> 3 | RUN [ $FAIL = no ] # of the user"]
    shown = "".join(f"  {line}\n" for line in excerpt)
    assert outcome.output.count(shown) == 1, "the user's own lines, once"
    # Of either platform, whose steps run side by side.
    why = r" failed: linux/(amd64|arm64), Dockerfile line 3: exit code: 1\n"
    assert re.search(re.escape(f"\n{name}:python") + why, outcome.stdout)

    result = run_json(machine, "build", inputs, status=1)
    assert [image["state"] for image in result["images"]] == ["unchanged", "failed"]
    assert (result["error"]["code"], result["error"]["line"]) == ("step_failed", 3)
    assert result["error"]["excerpt"] == excerpt


def test_wrong_input_is_refused_before_anything_is_fetched(machine: Machine, wanted: dict[str, Any]) -> None:
    wanted["target"]["images"][0]["platfroms"] = []
    outcome = run(machine, "build", written(machine, wanted))
    assert outcome.status == 2
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("error: target.images[0].platfroms: ")
    assert "fetching" not in outcome.stderr


def slow(wanted: dict[str, Any], folder: Path) -> str:
    """Make it a build of one step that lasts; returns what the arguments of its process hold."""
    mark = f"slow-{uuid.uuid4().hex}"
    repository(folder, {"Dockerfile": f"FROM alpine:3.18\nRUN sh -c 'sleep 600; true' {mark}\n"})
    wanted["source"]["git_repo"]["url"] = f"file://{folder}"
    # One step only: BuildKit itself loses a process whose container just starts when it is told to stop.
    wanted["target"]["images"] = [{"image": "interrupted", "platforms": PLATFORMS[:1]}]
    return mark


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupting_it_leaves_nothing_behind(
    number: signal.Signals, machine: Machine, wanted: dict[str, Any], tmp_path: Path
) -> None:
    # The fixture of the machine sees that no file, process or secret is left.
    mark = slow(wanted, tmp_path / "slow")
    started = start(machine, "build", written(machine, wanted))
    started.wait_for(lambda: is_running(mark))
    started.signal(number, group=False)
    outcome = started.finish(60)
    assert outcome.status == 130
    assert (
        outcome.stderr.splitlines()[-1]
        == "Interrupted. No process or workspace is left; what was pushed before stays in the registry."
    )
    assert "Traceback" not in outcome.output
    wait_until_gone(mark)


class Terminal:
    """A program on a terminal of its own, ``width`` columns wide."""

    def __init__(self, machine: Machine, width: int, *arguments: str) -> None:
        self._screen, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        self._process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=machine.folder,
            env={**machine.environment, "TERM": "xterm-256color"},
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        self._written = ""

    @property
    def output(self) -> str:
        """What it wrote, without colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", self._written)

    def read_until(self, text: str = "") -> None:
        """Read what it writes until that holds ``text``, or to the end."""
        while not text or text not in self.output:
            try:
                data = os.read(self._screen, 65536)
            except OSError:  # the last program closed the terminal
                assert not text, f"{text!r} did not come: {self.output}"
                return
            self._written += data.decode(errors="replace")

    def interrupt(self) -> None:
        """Send what Ctrl-C sends."""
        os.killpg(self._process.pid, signal.SIGINT)

    def finish(self) -> int:
        """Read to the end and give the exit status."""
        self.read_until()
        os.close(self._screen)
        return self._process.wait(60)


def test_on_a_terminal_each_image_and_platform_has_a_row(machine: Machine, wanted: dict[str, Any]) -> None:
    name = wanted["target"]["images"][0]["image"]
    terminal = Terminal(machine, 100, "build", written(machine, wanted))
    status = terminal.finish()
    assert status == 0, terminal.output
    for tag in ("alpine", "python"):
        for platform in PLATFORMS:
            row = rf"{name}:{tag} {platform} \d/3 RUN sleep 2; uname -m > /arch"
            assert re.search(row, terminal.output)
    hidden, restored = terminal.output.rfind("\x1b[?25l"), terminal.output.rfind("\x1b[?25h")
    assert -1 < hidden < restored, "the cursor stays hidden"
    end = terminal.output[restored:]
    assert end.count(" built") == 2
    assert "RUN sleep" not in end, "the rows stay on the screen"


def test_interrupted_on_a_terminal_it_gives_the_cursor_back(
    machine: Machine, wanted: dict[str, Any], tmp_path: Path
) -> None:
    mark = slow(wanted, tmp_path / "slow")
    terminal = Terminal(machine, 100, "build", written(machine, wanted))
    terminal.read_until("RUN sh -c")
    while not is_running(mark):
        time.sleep(0.1)
    terminal.interrupt()
    assert terminal.finish() == 130
    assert terminal.output.rfind("\x1b[?25l") < terminal.output.rfind("\x1b[?25h")
    assert "Interrupted" in terminal.output
    wait_until_gone(mark)


def test_inspect_reads_with_the_user_s_own_login(
    machine: Machine, wanted: dict[str, Any], local_registry: Registry, tmp_path: Path
) -> None:
    built = run_json(machine, "build", written(machine, wanted))["images"][0]
    denied = run(machine, "inspect", built["reference"])
    assert denied.status == 1
    assert denied.stderr.count("error: ") == 1

    account = encoded_account(local_registry.username, local_registry.password)
    login = tmp_path / "login"
    login.mkdir()
    machine.own.append(login)
    (login / "config.json").write_text(json.dumps({"auths": {local_registry.address: {"auth": account}}}))
    machine.environment["DOCKER_CONFIG"] = str(login)
    found = run_json(machine, "inspect", built["reference"])
    assert found["digest"] == built["digest"]
    assert found["platforms"] == built["platforms"]
    assert built["input_hash"] in run(machine, "inspect", built["reference"]).stdout


def test_the_engine_that_builds_is_found_and_told(machine: Machine, engine: Engine) -> None:
    found = run_json(machine, "engine", "status")
    assert found["docker_host"] == engine.docker_host
    assert set(PLATFORMS) <= set(found["platforms"])
    shown = run(machine, "engine", "status").stdout
    assert f"Docker Engine {found['version']}" in shown
    told = "the same for a commit" if found["rewrites_timestamps"] else "differ from another engine's"
    assert told in shown

    settings = run(machine, "engine", "env").stdout
    told = subprocess.run(
        ["sh", "-c", 'eval "$1"; printf %s "$DOCKER_HOST"; command -v docker >&2', "sh", settings],
        env={"PATH": machine.environment["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == engine.docker_host


def test_the_documented_script_converts_as_the_command_does(machine: Machine, tmp_path: Path) -> None:
    original = ROOT / "inputs" / "git.json"
    for folder, argv in (("script", [str(ROOT / "json_to_yaml.py")]), ("command", [*COMMAND, "convert"])):
        made = [*argv, str(original), "--output", str(tmp_path / folder)]
        subprocess.run(made, env=machine.environment, check=True, capture_output=True)
    by_script, by_command = (tmp_path / folder / "git.yaml" for folder in ("script", "command"))
    assert by_script.read_bytes() == by_command.read_bytes()
