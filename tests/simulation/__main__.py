"""Live through worlds: `python -m tests.simulation --seeds 0:2000`, or `--seed 17` to see one in full."""

import argparse
import sys
import time

from tests.memory import settle_memory
from tests.simulation.verdict import pronounce, watch
from tests.simulation.world import World

SHOWN = 20
"""Failing seeds that are printed before giving up."""
TOLD_EVERY = 1000
"""Worlds between two words about progress."""


def lived(seed: int) -> World:
    """A world that has come to rest, judged. Raises what is wrong with it."""
    world = World(seed)
    world.watched = lambda: watch(world)
    try:
        world.live()
        pronounce(world)
    except BaseException as error:
        error.add_note(f"seed {seed}: python -m tests.simulation --seed {seed}")
        error.add_note("\n".join(f"{seconds:9.3f} {text}" for seconds, text in world.notes))
        raise
    return world


def seeds(text: str) -> range:
    """`first:last` (without the last), or one seed."""
    first, colon, last = text.partition(":")
    return range(int(first), int(last)) if colon else range(int(first), int(first) + 1)


def main(arguments: list[str]) -> int:
    """Exit 0 when every world came out right."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", "--seed", type=seeds, default=seeds("0:2000"), metavar="FIRST:LAST")
    chosen = parser.parse_args(arguments).seeds
    settle_memory()
    return show(chosen.start) if len(chosen) == 1 else go_through(chosen)


def show(seed: int) -> int:
    """One world, with all that happened in it; what is wrong comes with its traceback."""
    sys.stdout.write("".join(f"{seconds:9.3f} {text}\n" for seconds, text in lived(seed).notes))
    return 0


def go_through(chosen: range) -> int:
    """Many worlds; the seeds of those that are wrong."""
    failed: list[int] = []
    began = time.monotonic()
    for done, seed in enumerate(chosen):
        try:
            lived(seed)
        except Exception as error:  # noqa: BLE001 - every seed has its turn
            failed.append(seed)
            say(f"seed {seed}: {type(error).__name__}: {error}")
        if done and done % TOLD_EVERY == 0:
            say(f"{done} of {len(chosen)} worlds, {time.monotonic() - began:.0f} s")
        if len(failed) == SHOWN:
            break
    say(f"{len(chosen)} worlds in {time.monotonic() - began:.1f} s, {len(failed)} wrong: {failed}")
    return 1 if failed else 0


def say(line: str) -> None:
    """One line for people."""
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
