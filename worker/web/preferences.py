"""`Prefer: wait=N` (RFC 7240): how long a caller is willing to wait for an event's outcome."""

import re
from collections.abc import Iterable
from typing import Final

from worker.web.contracts.describing import Parameter

MAX_WAIT_SECONDS: Final = 10
"""A family waits in front of a page; a request held open longer is one that nobody reads."""

PREFER: Final = Parameter(
    name="Prefer",
    shape=str,
    where="header",
    about=(
        f"`wait=N`, 1 to {MAX_WAIT_SECONDS} s: to wait so long for the outcome; 202 if it takes longer. More is taken "
        f"for {MAX_WAIT_SECONDS}, anything else is ignored: `Preference-Applied` has what counts."
    ),
    example="wait=5",
)
PREFERENCE_APPLIED: Final = {"Preference-Applied": "`wait=N`, as it counts, when it was asked for"}

_WAIT: Final = re.compile(r'\s*wait\s*=\s*(?:"([0-9]{1,4000})"|([0-9]{1,4000}))\s*(?:;.*)?', re.IGNORECASE)


def wait_seconds(headers: Iterable[str]) -> int | None:
    """The first `wait` of the Prefer headers, at most 10 s; None for what is no wait, as RFC 7240 has it ignored."""
    for preference in ",".join(headers).split(","):
        match = _WAIT.fullmatch(preference)
        if match is not None:
            return min(int(match[1] or match[2]), MAX_WAIT_SECONDS) or None
    return None
