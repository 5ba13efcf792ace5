# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""Runs the benchmarks, prints a table of each, and writes its results with the versions of everything.

Ratios are of medians of one run on one machine; seconds mean nothing on another machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.history import history
from benchmarks.memory import memory
from benchmarks.one_failure import one_failure
from benchmarks.site import Scale, run, site
from benchmarks.six_variants import six_variants
from benchmarks.unchanged import unchanged
from benchmarks.versions import versions
from tests.support.run import ROOT

#: Each by its name.
BENCHMARKS = {call.__name__: call for call in (unchanged, history, one_failure, memory, six_variants)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line names, each on a site of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones (all): {', '.join(BENCHMARKS)}")
    parser.add_argument("--rounds", type=int, default=3, help="how often each way is measured (%(default)s)")
    parser.add_argument("--small", action="store_true", help="see that they work, on sizes that tell nothing")
    parser.add_argument("--output", type=Path, help="folder for the results, a file NAME.json for each")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown or options.rounds < 1:
        parser.error(
            f"no such benchmark: {', '.join(unknown)}" if unknown else "at least one round is needed"
        )
    # The commands that are measured are those of this tree, as the versions say.
    run(str(ROOT / "scripts" / "environment"), "run")
    for name in options.names or BENCHMARKS:
        call = BENCHMARKS[name]
        print(
            f"{name}: {(sys.modules[call.__module__].__doc__ or '').splitlines()[0]}",
            flush=True,
        )
        with site() as made:
            answer = call(made, Scale(options.rounds, options.small))
            found = {"benchmark": name, **answer.to_dict(), "versions": versions(made)}
        print(answer.table(), flush=True)
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
            text = json.dumps(found, indent=2) + "\n"
            (options.output / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
