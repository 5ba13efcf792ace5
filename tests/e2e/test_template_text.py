# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Text that looks like a template, for Ansible or for bake, is data in every string of a document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Engine
from tests.support.images import Image
from tests.support.payloads import document
from tests.support.registry import Registry
from tests.support.repositories import git as run_git
from tests.support.repositories import repository
from tests.support.run import DOORS, Machine


def hostile(canary: Path) -> list[str]:
    """Texts that a careless program runs or changes."""
    return [
        f"{{{{ lookup('pipe', 'touch {canary}') }}}}",
        f"{{% set x = lookup('pipe', 'touch {canary}') %}}",
        "{{.Names}}",
        "{# gone #}",
        "${HOME}",
        "$HOME",
        "%{ if true }x%{ endif }",
        "%{x}",
        f"$(touch {canary})",
        f"`touch {canary}`",
        "!unsafe a",
        "\\n \"quoted\" 'too' ${PATH:-x} $$ %% {{ '{{' }}",
    ]


DOCKERFILE = """\
FROM python:3.6-alpine
{arguments}
RUN --mount=type=secret,id=word cp /run/secrets/word /word
RUN --mount=type=bind,target=/context cp -r /context /copied
RUN {print}
"""


@pytest.mark.parametrize("door", DOORS)
def test_template_text_arrives_as_it_was_written(
    door: str, machine: Machine, local_registry: Registry, engine: Engine, tmp_path: Path
) -> None:
    canary = machine.folder / "canary"
    texts = hostile(canary)
    machine.secrets.append(local_registry.password)
    names = [f"TEXT_{n}" for n in range(len(texts))]
    dockerfile = DOCKERFILE.format(
        arguments="\n".join(f"ARG {name}" for name in names),
        print=" && ".join(f'printf "%s\\n" "${name}" >> /texts' for name in names),
    )
    branch, folder, file = "b/{{.Names}}", "%{x} {# c #}", "{{.Names}}/${HOME}.Dockerfile"
    repository(tmp_path / "repository", {file: dockerfile, f"{folder}/in": "x\n"}, branch="main")
    run_git(tmp_path / "repository", "checkout", "--quiet", "-b", branch)
    run_git(tmp_path / "repository", "branch", "--delete", "--force", "main")
    image = {
        "image": "template/text",
        "tag": "1",
        "build_args": dict(zip(names, texts, strict=True)),
        "labels": {f"org.example.{n}": text for n, text in enumerate(texts)},
        "annotations": {f"org.example.{n}": text for n, text in enumerate(texts)},
        "secrets": {"word": texts[0]},
    }
    source = {
        "url": f"file://{tmp_path}/repository",
        "version": branch,
        "dockerfile": file,
        "workdir": folder,
    }
    machine.build_ok(door, document(local_registry, source, image))

    built = Image(engine, local_registry, "template/text", "1")
    assert built.read("/texts") == "".join(f"{text}\n" for text in texts)
    assert built.read("/word") == texts[0]
    assert built.read("/copied/in") == "x\n"
    labels = built.config()["config"]["Labels"]
    assert [labels[f"org.example.{n}"] for n in range(len(texts))] == texts
    assert [built.annotations[f"org.example.{n}"] for n in range(len(texts))] == texts
    assert not canary.exists()


@pytest.mark.parametrize("door", DOORS)
def test_template_text_where_it_cannot_stand_is_refused_as_it_was_written(
    door: str, machine: Machine
) -> None:
    canary = machine.folder / "canary"
    text = hostile(canary)[0]
    wanted = {
        "source": {
            "git_repo": {
                "url": text,
                "version": text,
                "username": text,
                "password": {"env": text},
                "dockerfile": f"/{text}",
                "workdir": f"../{text}",
                text: text,
            }
        },
        "target": {
            "images": [
                {
                    "image": text,
                    "tag": text,
                    "tags": [text],
                    "base": text,
                    "platforms": [text],
                    "build_args": {text: text},
                    "target": text,
                    "labels": text,
                    "annotations": {text: [text]},
                    "no_cache": text,
                    "pull": text,
                    "secrets": {text: {"file": text}},
                    "cache_from": [text],
                    "cache_to": [{"ref": text, "mode": text}],
                    text: text,
                },
                text,
            ],
            "registry": {"url": text, "username": text, "password": {"file": text}, text: text},
            text: text,
        },
        "options": {"builder": text, text: text},
    }
    paths = (
        *("source.git_repo.url", "source.git_repo.version", "source.git_repo.password"),
        *("source.git_repo.dockerfile", "source.git_repo.workdir"),
        *(
            f"target.images[0].{key}"
            for key in (
                *("image", "tag", "tags[0]", "base", "platforms[0]", "build_args", "target", "labels"),
                *("no_cache", "pull", "secrets", "cache_from[0].ref", "cache_to[0].ref", "cache_to[0].mode"),
            )
        ),
        *("target.images[1]", "target.registry.url", "target.registry.password", "options.builder"),
    )
    machine.build_fails(door, wanted, text, *(f"{path}: " for path in paths))
    assert not canary.exists()


@pytest.mark.parametrize("part", ["source", "target", "options", "custom_workdir"])
def test_template_text_in_place_of_a_whole_part_is_refused(part: str, machine: Machine) -> None:
    canary = machine.folder / "canary"
    wanted: dict[str, Any] = document(
        Registry("127.0.0.1:1"), {"url": "https://127.0.0.1:1/a.git"}, {"image": "a"}
    )
    wanted[part] = hostile(canary)[0]
    machine.build_fails("ansible-playbook", wanted, part)
    assert not canary.exists()
