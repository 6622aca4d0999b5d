"""`python -m bench`: every measurement, or the named ones; `--quick` for a smoke test, `--write` for the document."""

import argparse
import sys
from importlib import import_module

import uvloop

from bench import document, ground
from bench.figures import Figure

NAMES = (
    "reconcile",
    "scaling",
    "ingest",
    "latency",
    "holds",
    "memory",
    "asks",
    "notifications",
    "history",
    "interpret",
    "books",
    "replay",
)
"""In the order of the table."""


def main(arguments: list[str]) -> int:
    """Measure, print the table, and write it where asked to."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of: {', '.join(NAMES)} (all)")
    parser.add_argument("--quick", action="store_true", help="seconds each: does it run? The figures mean nothing")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.names) - set(NAMES))
    if unknown:
        parser.error(f"no such measurement: {', '.join(unknown)}")
    for name in chosen.names or NAMES:
        print(f"{name}…", file=sys.stderr, flush=True)
        found = uvloop.run(measure(name, quick=chosen.quick))
        print(document.lines(found), flush=True)
        if chosen.write:
            document.write(found)
    return 0


async def measure(name: str, *, quick: bool) -> list[Figure]:
    """Run one measurement on servers of its own."""
    with ground.servers() as servers:
        found: list[Figure] = await import_module(f"bench.{name}").measure(servers, quick=quick)
        return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
