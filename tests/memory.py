"""The memory of a process that tests: most of what is made is gone at once, the rest stays to the end."""

import gc
from typing import Final

YOUNG_OBJECTS: Final = 20_000
"""Before the collector looks at them, as in our own processes: a third of the simulation's time was its looks."""


def settle_memory() -> None:
    """Keep the collector from reading what lives as long as the process, at every turn."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
