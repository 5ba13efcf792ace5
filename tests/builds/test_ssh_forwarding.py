# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Steps reach the agent of the user who builds, or a private key of the document, and keep neither."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import EngineError

from tests.builds.site import Site

pytestmark = [pytest.mark.engine, pytest.mark.each_engine]


def make_key(folder: Path, name: str) -> tuple[str, str]:
    """A new private key, and its public key without a comment."""
    path = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path.read_text(encoding="utf-8"), Path(f"{path}.pub").read_text(encoding="utf-8").strip()


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """What the agent of the user lists: a public key, and where it comes from."""
    _, public = make_key(tmp_path, "agents")
    public = f"{public} {tmp_path}/agents"
    socket = tmp_path / "agent"
    running = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(
            ["sh", "-c", f"until test -S {socket}; do sleep 0.02; done; ssh-add -q {tmp_path}/agents"],
            check=True,
            timeout=60,
        )
        yield public
    finally:
        running.terminate()
        running.wait()


def write_context(site: Site, *ids: str) -> None:
    """A Dockerfile whose image lists the keys that are behind ``ids``, by this machine's own program."""
    program = shutil.which("ssh-add")
    assert program is not None
    libraries = re.findall(r"(/\S+) \(0x", subprocess.check_output(["ldd", program], text=True))
    folder = site.context / "ssh"
    folder.mkdir(parents=True)
    for path in (program, *libraries):
        shutil.copy(path, folder)
    (loader,) = (Path(path).name for path in libraries if "ld-linux" in path)
    listing = f"/ssh/{loader} --library-path /ssh /ssh/ssh-add -L"
    # The build cache knows nothing of keys: no step is to be that of an earlier test.
    steps = "".join(f"RUN --mount=type=ssh,id={name} : {site.name}; {listing} > /{name}\n" for name in ids)
    site.write(Dockerfile=f"FROM {site.engine.registry}/library/alpine:3.18\nCOPY ssh /ssh\n{steps}")


def test_steps_use_the_users_agent_and_keys_of_the_document(
    site: Site, agent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = make_key(tmp_path, "own")
    monkeypatch.setenv("DEPLOY_KEY", private)
    write_context(site, "default", "deploy", "file")
    image: dict[str, Any] = {
        "image": "app",
        "ssh": {"default": True, "deploy": {"env": "DEPLOY_KEY"}, "file": {"file": str(tmp_path / "own")}},
    }
    site.build_ok(image)
    seen = {name: site.pushed("app").read(f"/{name}").strip() for name in image["ssh"]}
    assert seen == {"default": agent, "deploy": public, "file": public}
    secret_lines = private.splitlines()[1:-1]
    assert not any(line in told for line in secret_lines for told in site.told)
    # Whose key it is says nothing of what is built.
    monkeypatch.delenv("SSH_AUTH_SOCK")
    assert site.rebuilt({"image": "app"}) == set()
    assert site.rebuilt(image) == set()


def test_an_agent_that_is_not_there_is_told_before_the_build(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    write_context(site, "default")
    with pytest.raises(EngineError) as caught:
        site.build({"image": "app", "ssh": {"default": True}})
    assert (caught.value.code, "SSH_AUTH_SOCK" in caught.value.message) == ("no_ssh_agent", True)


def test_what_is_no_private_key_is_told_without_it(site: Site) -> None:
    write_context(site, "default")
    built = site.build({"image": "app", "ssh": {"default": "hunter2-is-no-key"}})
    assert built.error is not None
    assert "hunter2" not in str(built.error)
    assert "ssh" in str(built.error)
