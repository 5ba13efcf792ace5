# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""``image-builder engine``: the engine that builds on this machine."""

from __future__ import annotations

import typer

from image_builder.commands.arguments import AsJson

app = typer.Typer(help="Set up, take down or find an engine.", no_args_is_help=True)


@app.command()
def up() -> None:
    """Set up what this machine lacks.

    That can be an engine, emulators, a registry on this machine, and sample base images. Needs root.
    """
    from rich.console import Console

    from image_builder.playbooks import set_up
    from image_builder.playbooks.scratch import scratch
    from image_builder.terminal import tables
    from image_builder.terminal.ending import explained

    with explained(), scratch() as folder:
        set_up.set_up(folder, tables.Steps(Console(highlight=False)))


@app.command()
def down() -> None:
    """Take away everything that "up" brought.

    An engine of the machine's own stays as it is. Needs root.
    """
    from rich.console import Console

    from image_builder.playbooks import set_up
    from image_builder.playbooks.scratch import scratch
    from image_builder.terminal import tables
    from image_builder.terminal.ending import explained

    with explained(), scratch() as folder:
        set_up.take_down(folder, tables.Steps(Console(highlight=False)))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Tell which engine builds here.

    Shows its address, its version, the platforms that it can build for, and whether another engine
    builds the same digests.
    """
    from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import find as engines
    from rich.console import Console

    from image_builder.terminal import tables
    from image_builder.terminal.ending import explained, print_json

    with explained(as_json=as_json):
        engine = engines.find()
        found = {
            "docker_host": engine.docker_host,
            "version": engine.version,
            "builder": engine.builder,
            "buildx": engine.buildx,
            "native": str(engine.native),
            "platforms": [str(platform) for platform in engines.runnable(engine)],
            "rewrites_timestamps": engines.pushing(engine).rewrites_timestamps,
        }
        if as_json:
            print_json({**found, "error": None})
        else:
            tables.show_engine(Console(highlight=False), found)


@app.command()
def env() -> None:
    """Print settings for the docker command.

    A shell takes them with: eval "$(image-builder engine env)"
    """
    import shlex
    import shutil

    from ansible_collections.sodalite.image_builder.plugins.module_utils.engine import find as engines
    from ansible_collections.sodalite.image_builder.plugins.module_utils.engine.buildx import PRIVATE_PREFIX

    from image_builder.terminal.ending import explained

    with explained():
        engine = engines.find()
        variables = {**engine.endpoint.variables(), "BUILDX_BUILDER": engine.builder}
        for name, value in variables.items():
            if value:
                typer.echo(f"export {name}={shlex.quote(value)}")
        if shutil.which("docker") is None:
            typer.echo(f'export PATH="$PATH":{shlex.quote(PRIVATE_PREFIX)}/usr/bin')
