# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The command line: ``image-builder deploy INPUT``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.sodalite.image_builder.plugins.module_utils.errors import (
    BuilderError,
    Cancelled,
    ParameterError,
)
from ansible_collections.sodalite.image_builder.plugins.module_utils.process import cancellable
from rich.console import Console
from rich.text import Text

from image_builder import blueprint, build_site, inputs, report

_FAILED, _USAGE, _CANCELLED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` name: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="image-builder", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    deploy = commands.add_parser(
        "deploy",
        help="build and push the images of a document",
        description="Builds the images of a document and pushes them. Prepares what this machine lacks.",
        epilog="Exit status: 0 the registry has all images, 1 a failure, 2 wrong usage, 130 interrupted.",
    )
    deploy.add_argument("input", type=Path, metavar="INPUT", help="the document, a YAML or JSON file")
    given = parser.parse_args(arguments)
    console, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    try:
        with cancellable():
            return _deploy(given.input, console, errors)
    except Cancelled:
        errors.print("Interrupted. Nothing was left behind.")
        return _CANCELLED
    except ParameterError as error:
        for fault in error.faults:
            _print_error(errors, fault)
    except BuilderError as error:
        _print_error(errors, str(error))
    except OSError as error:
        _print_error(errors, f"{error.filename}: {error.strerror}")
        return _USAGE if error.filename == str(given.input) else _FAILED
    return _FAILED


def _deploy(path: Path, console: Console, errors: Console) -> int:
    document = inputs.load(path)
    show = report.Steps(console)
    # Private, since opera keeps all inputs in clear text, and gone at the end, however it comes.
    with tempfile.TemporaryDirectory(prefix="image-builder-") as folder:
        build_site.prepare(document, Path(folder), show)
        show(f"Deploying {path}")
        outcome = blueprint.deploy(path, Path(folder), show)
    if outcome.images:
        report.show_images(console, outcome.images)
    if outcome.error:
        _print_error(errors, outcome.error)
        return _FAILED
    return 0


def _print_error(errors: Console, message: str) -> None:
    errors.print(Text.assemble(("error: ", "bold red"), message), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
