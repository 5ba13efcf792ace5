# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""A user at a machine: a home folder, a temporary folder, and the doors to image-builder.

``IMAGE_BUILDER_TEST_VENV`` names the environment that holds opera and Ansible (``.venv`` of this repository).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

import yaml

from tests.support.engine import Engine
from tests.support.leaks import traces

ROOT = Path(__file__).parents[2]
VENV = Path(os.environ.get("IMAGE_BUILDER_TEST_VENV", ROOT / ".venv"))

#: The doors of this issue that take a document and answer with images.
DOORS = ("ansible-playbook", "opera", "image-builder")

_DOCKER_CONFIG = """\
{
\t"auths": {"registry.example.org": {"auth": "bm9ib2R5OmFueXRoaW5n"}},
\t"detachKeys": "ctrl-q,q"
}"""


@dataclass(frozen=True)
class Outcome:
    """What a run left: its exit status, its output, and the images that it reports."""

    status: int
    stdout: str
    stderr: str
    images: list[dict[str, Any]] = field(default_factory=list)

    @property
    def output(self) -> str:
        """Everything that the user saw."""
        return self.stdout + self.stderr


class Run:
    """A started program in a process group of its own, with its output in files."""

    def __init__(self, argv: list[str], folder: Path, cwd: Path, env: Mapping[str, str]) -> None:
        self._files = (folder / "stdout", folder / "stderr")
        with self._files[0].open("wb") as stdout, self._files[1].open("wb") as stderr:
            self.process = subprocess.Popen(
                argv,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals, *, group: bool) -> None:
        """Send a signal to the program, or (as a terminal does) to its whole process group."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def wait_for(self, happened: Callable[[], object], seconds: float = 60) -> None:
        """Wait until ``happened()`` is true; it is an error when the program ends before."""
        deadline = time.monotonic() + seconds
        while not happened():
            assert self.process.poll() is None, f"ended too early: {self.output()}"
            assert time.monotonic() < deadline, f"did not happen in {seconds} s: {self.output()}"
            time.sleep(0.05)

    def output(self) -> tuple[str, str]:
        """What it printed so far, on standard output and standard error."""
        stdout, stderr = (path.read_text(encoding="utf-8", errors="replace") for path in self._files)
        return stdout, stderr

    def finish(self, seconds: float = 240) -> Outcome:
        """Wait for the end."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise AssertionError(f"still running after {seconds} s: {self.output()}") from None
        return Outcome(self.process.returncode, *self.output())


class Machine:
    """A user's home and temporary folder under ``folder``, with an untouched Docker configuration."""

    def __init__(self, folder: Path, engine: Engine, **environment: str) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.tmp = folder / "tmp"
        self.docker_config = self.home / ".docker" / "config.json"
        self.docker_config.parent.mkdir(parents=True)
        self.docker_config.write_text(_DOCKER_CONFIG, encoding="utf-8")
        self.tmp.mkdir()
        self.instance = folder / "instance"
        self.instance.mkdir()
        #: Passwords of the tests, and the files and folders that may hold them.
        self.secrets: list[str] = []
        self.own: list[Path] = []
        self._count = 0
        path = [str(VENV / "bin"), str(Path(engine.buildx).parent), os.environ["PATH"]]
        kept = {name: os.environ[name] for name in ("DOCKER_HOST", "LANG", "LC_ALL") if name in os.environ}
        self.environment = {
            "PATH": os.pathsep.join(path),
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            **kept,
            **environment,
        }

    def start(
        self,
        door: str,
        document: Mapping[str, Any],
        *arguments: str,
        form: str = "json",
        env: Optional[Mapping[str, str]] = None,
    ) -> Run:
        """Start building ``document``, written as ``json`` or ``yaml``, through ``door``, without waiting."""
        folder = self._next_folder()
        text = json.dumps(document, indent=2) if form == "json" else yaml.safe_dump(document, sort_keys=False)
        inputs = self.own_file(f"{folder.name}/inputs.{form}", text)
        if door == "ansible-playbook":
            argv = [door, *arguments, "-e", f"document={inputs}", str(ROOT / "playbooks" / "build.yml")]
            cwd = folder
        elif door == "image-builder":
            argv = [door, "build", "--json", *arguments, str(inputs)]
            cwd = folder
        else:
            if any(traces(secret)[0].decode() in text for secret in self.secrets):
                self.own.append(self.instance)  # opera keeps its inputs as they are
            instance = ("--instance-path", str(self.instance))
            argv = [door, "deploy", *arguments, *instance, "-i", str(inputs), "docker_image_definition.yaml"]
            cwd = ROOT
        result = {"IMAGE_BUILDER_RESULT": str(folder / "result.json")}
        return Run(argv, folder, cwd, {**self.environment, **result, **(env or {})})

    def build(
        self,
        door: str,
        document: Mapping[str, Any],
        *arguments: str,
        form: str = "json",
        env: Optional[Mapping[str, str]] = None,
    ) -> Outcome:
        """Build ``document`` through ``door``."""
        outcome = self.start(door, document, *arguments, form=form, env=env).finish()
        if door == "opera":
            images = self._images_of_opera() if outcome.status == 0 else []
        elif door == "image-builder":
            images = json.loads(outcome.stdout).get("images", []) if outcome.stdout else []
        else:
            images = self._images_of_playbook()
        return Outcome(outcome.status, outcome.stdout, outcome.stderr, images)

    def build_ok(
        self,
        door: str,
        document: Mapping[str, Any],
        *arguments: str,
        form: str = "json",
        env: Optional[Mapping[str, str]] = None,
    ) -> list[dict[str, Any]]:
        """Build ``document`` and assert that it worked; returns the reported images."""
        outcome = self.build(door, document, *arguments, form=form, env=env)
        assert outcome.status == 0, outcome.output
        assert outcome.images, outcome.output
        return outcome.images

    def build_fails(self, door: str, document: Mapping[str, Any], *says: str) -> Outcome:
        """Build ``document`` and assert that it failed with one error that has all the texts of ``says``."""
        outcome = self.build(door, document)
        assert outcome.status != 0, outcome.output
        errors = [line for line in outcome.output.splitlines() if line.startswith(("[ERROR]", "error: "))]
        # The command line gives each fault of a document a line of its own.
        assert len(errors) == 1 or (errors and door == "image-builder"), outcome.output
        missing = [text for text in says if text not in "\n".join(errors)]
        assert not missing, f"{missing} not in: {errors[0]}"
        # opera ends every failed deployment with a traceback of its own.
        allowed = 1 if door == "opera" else 0
        assert outcome.output.count("Traceback") == allowed, outcome.output
        return outcome

    def opera(self, command: str, *arguments: str) -> Outcome:
        """Run another command of opera on what was deployed, such as ``outputs`` or ``undeploy``."""
        argv = ["opera", command, "--instance-path", str(self.instance), *arguments]
        return Run(argv, self._next_folder(), ROOT, self.environment).finish()

    def own_file(self, name: str, text: str) -> Path:
        """A private file of the test's own, which may hold secrets."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text, encoding="utf-8")
        self.own.append(path)
        return path

    def forget_deployment(self) -> None:
        """Let the next build through opera be a deployment of its own."""
        shutil.rmtree(self.instance)
        self.instance.mkdir()

    def docker_config_is_untouched(self) -> bool:
        """Whether the user's Docker configuration is byte for byte what it was."""
        return self.docker_config.read_bytes() == _DOCKER_CONFIG.encode()

    def _next_folder(self) -> Path:
        self._count += 1
        folder = self.folder / f"run-{self._count}"
        folder.mkdir()
        return folder

    def _images_of_playbook(self) -> list[dict[str, Any]]:
        result = self.folder / f"run-{self._count}" / "result.json"
        return list(json.loads(result.read_bytes()).get("images", [])) if result.exists() else []

    def _images_of_opera(self) -> list[dict[str, Any]]:
        outputs = self.opera("outputs", "--format", "json")
        assert outputs.status == 0, outputs.output
        return list(json.loads(outputs.stdout)["images"]["value"])
