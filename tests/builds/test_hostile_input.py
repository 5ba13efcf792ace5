# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What the check of a document lets pass reaches git, ssh, tar, registries and BuildKit, and does no harm."""

from __future__ import annotations

import io
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.build.result import Report
from ansible_collections.sodalite.image_builder.plugins.module_utils.document.accept import (
    accept_document,
    accept_source,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import BuilderError
from ansible_collections.sodalite.image_builder.plugins.module_utils.listener import SILENT
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations import request
from ansible_collections.sodalite.image_builder.plugins.module_utils.operations.fetch_source import (
    fetch_source,
    remove_source,
)
from rich.console import Console

from image_builder.terminal import live
from tests.support import hostile, leaks
from tests.support.engine import Engine
from tests.support.files import file_server
from tests.support.git_servers import http_git_server, ssh_git_server
from tests.support.hostile import ACCEPTED, DOCUMENTS, TEXTS, Place
from tests.support.images import Image
from tests.support.leaks import new_secret
from tests.support.registry import Registry, registry
from tests.support.repositories import repository, write

pytestmark = pytest.mark.engine

ACCOUNT = ("reader", new_secret())
FILES = {"Dockerfile": "FROM python:3.6-alpine\nCOPY . /code\n", "code/main.py": "1\n"}


@dataclass(frozen=True)
class Servers:
    """Addresses of one sample, as each kind of source names it; the private ones want ``ACCOUNT``."""

    git: str
    private_git: str
    ssh: dict[str, str]
    dockerfile: str
    archive: str

    def source(self, name: str, place: Place) -> dict[str, Any]:
        """The kind of source that ``hostile.DOCUMENTS[name]`` has, to fetch, as suits ``place``."""
        kind, key = place[1], place[-1]
        account = {"username": ACCOUNT[0], "password": ACCOUNT[1]}
        if key in ("username", "password"):
            repo: dict[str, Any] = {"url": self.private_git, **account}
        else:
            repo = dict(self.ssh) if key.startswith("ssh_") else {"url": self.git}
        file = {"url": self.dockerfile, **account}
        return {
            "git": {"git_repo": repo},
            "dockerfile": {"dockerfile": file, "build_context": repo if kind == "build_context" else {}},
            "folder": {"dockerfile": file, "build_context": {"path": "/nonexistent"}},
            "tar": {"tar": {"url": self.archive, **account}},
            "local tar": {"tar": {"path": "/nonexistent"}},
        }[name]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("served")
    repository(folder / "sample.git", FILES, bare=True)
    write(folder / "files", FILES)
    argv = [
        "tar",
        "--create",
        "--file",
        str(folder / "sample.tar"),
        "--directory",
        str(folder / "files"),
        ".",
    ]
    subprocess.run(argv, check=True)
    with ExitStack() as stack:
        account = {"username": ACCOUNT[0], "password": ACCOUNT[1]}
        private = stack.enter_context(http_git_server(folder, **account))
        ssh = stack.enter_context(ssh_git_server(folder, tmp_path_factory.mktemp("sshd")))
        files = stack.enter_context(file_server(folder, **account))
        yield Servers(
            git=f"file://{folder}/sample.git",
            private_git=f"{private.url}/sample.git",
            ssh={
                "url": f"{ssh.url}/sample.git",
                "ssh_key_file": str(ssh.key),
                "ssh_known_hosts_file": str(ssh.known_hosts),
            },
            dockerfile=f"{files.url}/files/Dockerfile",
            archive=f"{files.url}/sample.tar",
        )


@dataclass(frozen=True)
class Ground:
    """What is watched: a folder with a machine's home, its temporary files, and the working directory."""

    folder: Path

    @property
    def canary(self) -> Path:
        """The file that a text makes where it is run."""
        return self.folder / "canary"

    def text(self, what: str) -> str:
        return TEXTS[what].replace("CANARY", str(self.canary))

    def held(self) -> dict[Path, tuple[int, bytes]]:
        """Everything in the folder."""
        return {
            path: (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
            for path in self.folder.rglob("*")
        }


@pytest.fixture
def ground(tmp_path: Path, machine: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    leaks.remember_processes()
    made = Ground(tmp_path)
    yield made
    leaks.assert_nothing_left(machine[1])
    assert not made.canary.exists()


@pytest.mark.parametrize(
    ("name", "place"),
    [
        pytest.param(name, place, id=f"{name}-{hostile.dotted(place)}")
        for name, document in DOCUMENTS.items()
        for place in hostile.places(document)
        if place[0] == "source" and hostile.dotted(place) in ACCEPTED
    ],
)
def test_a_source_with_hostile_text_writes_nothing_outside_and_runs_nothing(
    name: str, place: Place, ground: Ground, servers: Servers
) -> None:
    texts = ACCEPTED[hostile.dotted(place)]
    if place[1] == "build_context" and len(texts) > 1:  # read as a git_repo is, by the same code
        texts = texts.intersection(("ssh option", "shell", "absolute"))
    for what in sorted(texts):
        source = servers.source(name, place)
        source[place[1]][place[2]] = text = ground.text(what)
        if place[2].startswith("ssh_") and what != "long name":
            # ssh itself gets the path of a file that is there.
            key = Path(text)
            if not key.is_absolute() and ".." not in key.parts:
                key.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(servers.ssh[place[2]], key)
        before = ground.held()
        with suppress(BuilderError):
            fetched = fetch_source(accept_source(source)[0], None, SILENT)
            try:
                assert Path(fetched.tree.dockerfile).is_relative_to(fetched.workspace), what
                assert Path(fetched.tree.context).is_relative_to(fetched.workspace), what
            finally:
                remove_source(fetched.workspace)
        assert ground.held() == before, what


def carried_out(document: dict[str, Any], engine: Engine, image: Optional[dict[str, Any]] = None) -> Report:
    """Build ``document``, in the engine's own registry unless it names another one."""
    target = {"images": [image], "registry": {"url": engine.registry}} if image else document["target"]
    with live.shown(Console(file=io.StringIO())) as progress:
        return request.carry_out(accept_document({**document, "target": target}), progress)


@pytest.mark.parametrize("what", ["hcl", "hcl directive", "option", "quoted shell"])
def test_hostile_names_of_files_are_built_from_as_they_are(
    what: str, ground: Ground, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = ground.text(what)
    folder = tmp_path_factory.mktemp("repository")
    # A step of the Dockerfile wants the file that is nowhere but in the hostile folder.
    repository(folder / "sample", {f"d/{text}": "FROM alpine\nCOPY only-there /\n", f"{text}/only-there": ""})
    source = {"url": f"file://{folder}/sample", "dockerfile": f"d/{text}", "workdir": text}
    image = {"image": f"tests/{uuid.uuid4().hex[:12]}/app"}
    report = carried_out({"source": {"git_repo": source}}, engine, image)
    assert [result.state for result in report.results] == ["success"]


@pytest.mark.parametrize("kind", ["git", "folder", "tar"])
def test_links_that_lead_out_of_a_build_context_bring_nothing_in(
    kind: str, ground: Ground, engine: Engine, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("links")
    write(folder, {"outside/secret.txt": "not for the image\n"})
    dockerfile = "FROM alpine\nCOPY . /code\nRUN [ -L /code/link ] && ! [ -e /code/link ]\n"
    context = folder / "context"
    write(context, {"Dockerfile": dockerfile})
    (context / "link").symlink_to(folder / "outside" / "secret.txt")
    (context / "folder").symlink_to(folder / "outside")
    source: dict[str, Any] = {
        "git": {"git_repo": {"url": f"file://{context}"}},
        "folder": {
            "dockerfile": {"url": f"file://{context}/Dockerfile"},
            "build_context": {"path": str(context)},
        },
        "tar": {"tar": {"path": str(folder / "context.tar")}},
    }[kind]
    image = {"image": f"tests/{uuid.uuid4().hex[:12]}/app"}

    def built() -> list[str]:
        if kind == "git":
            repository(context, {})
        subprocess.run(["tar", "-cf", "context.tar", "-C", "context", "."], cwd=folder, check=True)
        return [result.state for result in carried_out({"source": source}, engine, image).results]

    assert built() == ["success"]
    (context / "Dockerfile").write_text("FROM alpine\nCOPY folder/secret.txt /\n", encoding="utf-8")
    assert built() == ["failed"]


def test_hostile_arguments_labels_annotations_and_secrets_arrive_as_they_are(
    ground: Ground, engine: Engine, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    texts = {
        f"T{number}": ground.text(what)
        for number, what in enumerate(sorted(ACCEPTED["target.images[0].secrets.s"] - {"long"}))
    }
    folder = tmp_path_factory.mktemp("repository")
    mounts = " ".join(f"--mount=type=secret,id={name}" for name in texts)
    steps = [
        *(f"ARG {name}" for name in texts),
        f"RUN {mounts} cp -r /run/secrets /secrets",
        *(f'RUN printf %s "${name}" > /arg-{name}' for name in texts),
    ]
    repository(folder / "sample", {"Dockerfile": "FROM python:3.6-alpine\n" + "\n".join(steps) + "\n"})
    name = f"tests/{uuid.uuid4().hex[:12]}/app"
    free = {"build_args": texts, "labels": texts, "annotations": texts, "secrets": texts}
    document = {"source": {"git_repo": {"url": f"file://{folder}/sample"}}}
    report = carried_out(document, engine, {"image": name, **free})
    assert report.error is None, report.error
    image = Image(engine, Registry(engine.registry), name)
    assert image.config()["config"]["Labels"].items() >= texts.items()
    assert image.annotations.items() >= texts.items()
    shown = image.run("/bin/busybox", "sh", "-c", "for n in $(ls /secrets); do cat /secrets/$n /arg-$n; done")
    assert shown == "".join(2 * texts[name] for name in sorted(texts)).encode()


@pytest.mark.parametrize("key", ["build_args", "labels", "annotations"])
def test_text_longer_than_a_program_takes_is_built_or_explained(
    key: str, ground: Ground, engine: Engine, tmp_path: Path
) -> None:
    repository(tmp_path / "sample", {"Dockerfile": "FROM python:3.6-alpine\nARG T\n"})
    document = {"source": {"git_repo": {"url": f"file://{tmp_path}/sample"}}}
    image = {"image": f"tests/{uuid.uuid4().hex[:12]}/app", key: {"T": TEXTS["long"]}}
    report = carried_out(document, engine, image)
    assert report.error is None or len(str(report.error)) < 2000


def test_hostile_accounts_of_a_registry_are_turned_away(
    ground: Ground, engine: Engine, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with registry(tmp_path_factory.mktemp("registry"), username="user", password=new_secret()) as private:
        for what in sorted(ACCEPTED["target.registry.username"]):
            account = {"username": ground.text(what), "password": ground.text(what)}
            document = {
                "source": {"git_repo": {"url": servers.git}},
                "target": {
                    "images": [{"image": "app"}],
                    "registry": {"url": private.address, **account},
                },
            }
            error = carried_out(document, engine).error
            assert error is not None, what
            assert error.code == "registry_unauthorized", what


@pytest.mark.parametrize(
    ("image", "options"),
    [({"target": TEXTS["long name"]}, {}), ({}, {"builder": TEXTS["long name"]})],
    ids=["target", "builder"],
)
def test_a_long_name_of_what_is_not_there_is_explained(
    image: dict[str, Any], options: dict[str, Any], ground: Ground, engine: Engine, servers: Servers
) -> None:
    document = {"source": {"git_repo": {"url": servers.git}}, "options": options}
    with pytest.raises(BuilderError):
        carried_out(document, engine, {"image": "app", **image})
