# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How much the memory of the process grows while it fetches and builds a large context."""

from __future__ import annotations

from benchmarks.answer import Aim, Answer
from benchmarks.site import Scale, Site, run
from tests.support.large_sources import measured, write_large
from tests.support.repositories import git

_MOST_MEGABYTES = 50.0


def memory(site: Site, scale: Scale) -> Answer:
    """Measure, once whatever the rounds are: memory hardly differs between them."""
    megabytes = 8 if scale.small else 2048
    content = site.folder / "content"
    write_large(content, megabytes)
    # What has to be compressed first would take minutes, and not by this program.
    as_it_is = ("-c", "core.compression=0", "-c", "core.bigFileThreshold=1m")
    git(content, "init", "--quiet", "--initial-branch=main")
    git(content, *as_it_is, "add", "--all")
    git(content, "commit", "--quiet", "--message=Add files")
    archive = site.folder / "context.tar"
    run("tar", "--exclude=.git", "-cf", str(archive), "-C", str(content), ".")
    sources = {
        "git repository": {"git_repo": {"url": content.as_uri()}},
        "folder": {
            "dockerfile": {"url": (content / "Dockerfile").as_uri()},
            "build_context": {"path": str(content)},
        },
        "tar archive": {"tar": {"path": str(archive)}},
    }
    found = {}
    for name, source in sources.items():
        growth = measured(
            site.engine.docker_host, site.engine.buildx, site.folder, source, site.registry
        ).growth
        found[name] = [growth / (1 << 20)]
        print(f"  {name} {found[name][0]:.1f} MiB", flush=True)
    aims = tuple(Aim(f"MiB, {name}", values[0], _MOST_MEGABYTES) for name, values in found.items())
    return Answer({"context": f"{megabytes} MiB"}, found, {}, aims, unit="MiB")
