# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""How the program ends where it is interrupted at once, or where its output goes nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from image_builder.cli import app

# Interrupts itself when the first module of the application's own is looked for.
INTERRUPTED = """
import os, signal, sys
wanted = sys.argv[1]
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from image_builder.__main__ import main
sys.argv = ["image-builder", "build", "--help"]
main()
"""


@pytest.mark.parametrize("module", ["image_builder.cli", "typer", "image_builder.commands.plan"])
def test_an_interrupt_while_modules_are_imported_ends_without_a_word(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, module], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


COMMANDS = [str(command.callback.__name__) for command in app.registered_commands if command.callback]
HELP = [[], ["engine"], *([name] for name in COMMANDS), ["engine", "up"], ["engine", "env"]]


def onto_a_full_disk(*arguments: str, status: int = 1) -> list[str]:
    """The lines on standard error of a command whose standard output takes nothing."""
    argv = [sys.executable, "-m", "image_builder", *arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == status
    return done.stderr.splitlines()


UNWRITTEN = (
    "error: Standard output takes nothing more: No space left on device. Make room, or send it elsewhere."
)


def test_an_output_that_takes_nothing_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    document = tmp_path / "document.json"
    document.write_text("{}")
    assert onto_a_full_disk("convert", str(document)) == [UNWRITTEN]


def test_an_error_that_cannot_be_written_as_json_is_told_on_standard_error(tmp_path: Path) -> None:
    (line,) = onto_a_full_disk("inspect", "--json", "NOT/a reference", status=2)
    assert line.startswith("error: ")
    assert "NOT/a reference" in line


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_that_cannot_be_written_is_an_error_in_one_sentence(arguments: list[str]) -> None:
    assert onto_a_full_disk(*arguments, "--help") == [UNWRITTEN]


def test_a_reader_of_the_output_that_goes_away_ends_the_program_without_a_word(tmp_path: Path) -> None:
    document = tmp_path / "document.json"
    document.write_text("{}")
    argv = [sys.executable, "-m", "image_builder", "convert", str(document)]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(argv, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == ""
