# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Images in layouts, as tools write them and as nobody should."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import SourceError
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.layout import StoredImage, read_image
from ansible_collections.sodalite.image_builder.plugins.module_utils.oci.platform import Platform
from ansible_collections.sodalite.image_builder.plugins.module_utils.sources.workspace import Workspace

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Layout:
    """An OCI layout in the making."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "blobs" / "sha256").mkdir(parents=True)
        (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, content: Any, media_type: str, **fields: Any) -> dict[str, Any]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.path(sha256(body)).write_bytes(body)
        return {"mediaType": media_type, "digest": sha256(body), "size": len(body), **fields}

    def path(self, digest: str) -> Path:
        return self.folder / "blobs" / "sha256" / digest.partition(":")[2]

    def image(self, architecture: str, layer: bytes = b"layer", **fields: Any) -> dict[str, Any]:
        platform = {"os": "linux", "architecture": architecture}
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob({**platform, "rootfs": {"diff_ids": []}}, CONFIG),
            "layers": [self.blob(layer, LAYER)],
        }
        return self.blob(content, MANIFEST, platform=platform, **fields)

    def attestation(self, about: dict[str, Any]) -> dict[str, Any]:
        notes = {
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": about["digest"],
        }
        content = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self.blob({"rootfs": {}}, CONFIG),
            "layers": [self.blob(b"{}", "application/vnd.in-toto+json")],
        }
        platform = {"os": "unknown", "architecture": "unknown"}
        return self.blob(content, MANIFEST, platform=platform, annotations=notes)

    def index(self, *manifests: dict[str, Any]) -> dict[str, Any]:
        return self.blob({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}, INDEX)

    def top(self, *manifests: dict[str, Any]) -> None:
        (self.folder / "index.json").write_text(
            json.dumps({"schemaVersion": 2, "manifests": list(manifests)})
        )


@pytest.fixture
def read(workspace: Workspace) -> Callable[[], StoredImage]:
    return lambda: read_image(lambda path: workspace.path_inside(path, "path"))


@pytest.fixture
def layout(workspace: Workspace) -> Layout:
    return Layout(Path(workspace.context))


Read = Callable[[], StoredImage]


def refused(read: Read, says: str = "", code: str = "archive_invalid") -> None:
    with pytest.raises(SourceError) as caught:
        read()
    assert caught.value.code == code, caught.value
    assert says in str(caught.value)


def test_an_index_is_read_with_all_that_belongs_to_it(layout: Layout, read: Read) -> None:
    amd64, arm64 = layout.image("amd64"), layout.image("arm64")
    about = layout.attestation(amd64)
    index = layout.index(amd64, arm64, about)
    layout.top(index)
    image = read()
    assert (image.digest, image.media_type) == (index["digest"], INDEX)
    assert image.platforms == {AMD64: amd64["digest"], ARM64: arm64["digest"]}
    assert [manifest.digest for manifest in image.manifests] == [
        entry["digest"] for entry in (amd64, arm64, about)
    ]
    assert all(Path(path).exists() for manifest in image.manifests for path in manifest.blobs.values())


def test_some_platforms_keep_their_attestations_and_lose_the_others(layout: Layout, read: Read) -> None:
    amd64, arm64 = layout.image("amd64"), layout.image("arm64")
    about_amd64, about_arm64 = layout.attestation(amd64), layout.attestation(arm64)
    layout.top(layout.index(amd64, arm64, about_amd64, about_arm64))
    part = read().only([ARM64])
    assert part.platforms == {ARM64: arm64["digest"]}
    assert json.loads(part.body)["manifests"] == [arm64, about_arm64]
    assert part.digest == sha256(part.body)
    assert read().only([ARM64, AMD64]) == read()


def test_an_image_for_one_platform_is_pushed_without_an_index(layout: Layout, read: Read) -> None:
    amd64 = layout.image("amd64")
    layout.top(amd64, {**amd64, "annotations": {"io.containerd.image.name": "other:1"}})
    assert (read().digest, read().media_type, read().platforms) == (
        amd64["digest"],
        MANIFEST,
        {AMD64: amd64["digest"]},
    )


def test_platforms_at_the_top_are_one_image(layout: Layout, read: Read) -> None:
    layout.top(layout.image("amd64"), layout.image("arm64"))
    assert set(read().platforms) == {AMD64, ARM64}
    assert read().digest == sha256((layout.folder / "index.json").read_bytes())


def test_what_the_saving_engine_never_had_is_left_out(layout: Layout, read: Read) -> None:
    amd64, arm64 = layout.image("amd64"), layout.image("arm64", layer=b"never pulled")
    layout.path(sha256(b"never pulled")).unlink()
    layout.top(layout.index(amd64, arm64, layout.attestation(arm64)))
    assert read().platforms == {AMD64: amd64["digest"]}
    assert json.loads(read().body)["manifests"] == [amd64]


def test_layers_that_are_kept_elsewhere_may_be_missing(layout: Layout, read: Read) -> None:
    descriptor = layout.image("amd64")
    content = json.loads(layout.path(descriptor["digest"]).read_bytes())
    content["layers"].append({"digest": f"sha256:{'1' * 64}", "urls": ["https://example.org/"], "size": 1})
    layout.top(layout.blob(content, MANIFEST))
    assert f"sha256:{'1' * 64}" not in read().manifests[0].blobs


def test_several_images_are_refused_by_their_names(layout: Layout, read: Read) -> None:
    one = layout.image("amd64", annotations={"io.containerd.image.name": "one:1"})
    two = layout.image("arm64", annotations={"io.containerd.image.name": "two:2"})
    layout.top(one, two)
    refused(read, "several images (one:1, two:2)")
    layout.top(layout.image("amd64"), layout.image("amd64", layer=b"another"))
    refused(read, "several images")


def test_a_changed_manifest_is_refused(layout: Layout, read: Read) -> None:
    amd64 = layout.image("amd64")
    layout.path(amd64["digest"]).write_bytes(b'{"schemaVersion": 2}')
    layout.top(amd64)
    refused(read, "has another content")


def test_a_blob_that_is_a_link_to_the_machine_is_refused(layout: Layout, read: Read) -> None:
    amd64 = layout.image("amd64")
    layout.path(sha256(b"layer")).unlink()
    layout.path(sha256(b"layer")).symlink_to("/etc/hostname")
    layout.top(amd64)
    refused(read, code="path_outside_source")


@pytest.mark.parametrize(
    "digest", ["sha256:../../../../etc/passwd", "../x", "sha256:", "md5:0", "sha256:" + "G" * 64]
)
def test_a_digest_that_is_none_is_refused(layout: Layout, read: Read, digest: str) -> None:
    layout.top({"mediaType": MANIFEST, "digest": digest})
    refused(read, "damaged")


@pytest.mark.parametrize(
    "index",
    [
        "",
        "[]",
        "{}",
        '{"manifests": []}',
        '{"manifests": [1]}',
        '{"manifests": [{"digest": []}]}',
        '{"manifests": {"a": 1}}',
        "[" * 100000,
        '{"manifests": [{"digest": "sha256:' + "1" * 64 + '", "mediaType": "x"}]}',
    ],
    ids=lambda text: text[:20],
)
def test_an_index_that_makes_no_sense_is_refused(layout: Layout, read: Read, index: str) -> None:
    (layout.folder / "index.json").write_text(index)
    refused(read)


def test_an_index_in_an_index_is_refused(layout: Layout, read: Read) -> None:
    layout.top(layout.index(layout.index(layout.image("amd64"))))
    refused(read, "another index")


class Saved:
    """What ``docker save`` wrote before version 25."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.diff_ids: list[str] = []
        self.layers: list[str] = []

    def layer(self, name: str, content: bytes, diff_id: Optional[str] = None) -> None:
        (self.folder / name).write_bytes(content)
        self.layers.append(name)
        self.diff_ids.append(diff_id or sha256(content))

    def write(self, count: int = 1, **fields: Any) -> None:
        config = {"os": "linux", "architecture": "arm64", "rootfs": {"diff_ids": self.diff_ids}}
        (self.folder / "config.json").write_text(json.dumps(config))
        entry = {"Config": "config.json", "RepoTags": ["a:1"], "Layers": self.layers, **fields}
        (self.folder / "manifest.json").write_text(json.dumps([entry] * count))


@pytest.fixture
def saved(workspace: Workspace) -> Saved:
    return Saved(Path(workspace.context))


def test_the_older_form_becomes_a_manifest_with_the_layers_as_they_are(saved: Saved, read: Read) -> None:
    saved.layer("plain", b"tar")
    saved.layer("packed", gzip.compress(b"tar", mtime=0), sha256(b"tar"))
    saved.write()
    image = read()
    content = json.loads(image.body)
    assert [layer["mediaType"] for layer in content["layers"]] == [LAYER, f"{LAYER}+gzip"]
    assert [layer["size"] for layer in content["layers"]] == [3, len(gzip.compress(b"tar"))]
    assert image.platforms == {ARM64: image.digest}
    assert len(image.manifests[0].blobs) == 3
    assert read() == image


def test_the_older_form_is_refused_where_it_is_damaged(saved: Saved, read: Read) -> None:
    saved.layer("plain", b"tar", sha256(b"another"))
    saved.write()
    refused(read, "has another content")
    saved.write(Layers=[])
    refused(read, "another number of layers")
    saved.write(count=2)
    refused(read, "several images (a:1, a:1)")
    saved.write(Config="missing.json")
    refused(read, "missing.json cannot be read")
    for field in ("Config", "Layers"):
        for path in ("../../etc/hostname", "/etc/hostname"):
            saved.write(**{field: path if field == "Config" else [path]})
            refused(read, code="path_outside_source")
