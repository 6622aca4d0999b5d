"""The actors: one for each queue, one in each file, short."""

from pathlib import Path

import jobs
from schemas.events import Queue
from worker.broker import actor_name

FOLDER = Path(jobs.__file__).parent


def test_every_queue_has_one_actor_in_a_file_of_its_own() -> None:
    """A queue without one would be drained by the clock alone, half a second late."""
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert files == {actor_name(queue) for queue in Queue}


def test_an_actor_is_under_twenty_lines() -> None:
    """It parses nothing and awaits one function; the work is elsewhere."""
    for path in FOLDER.glob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) < 20, path.name
