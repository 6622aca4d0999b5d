"""How a command ends: the contract's exit codes, each with a message that says what to do."""

from typing import Final

import click

FAILED: Final = 1
NOT_FOUND: Final = 3
CONFLICT: Final = 4
TRY_LATER: Final = 75
"""EX_TEMPFAIL of <sysexits.h>: the same command may work later, unchanged."""


class Failed(click.ClickException):
    """It did not work, and would not the next time."""

    exit_code = FAILED


class NotFound(click.ClickException):
    """What was asked for is not there."""

    exit_code = NOT_FOUND


class Conflict(click.ClickException):
    """Something else is in the way."""

    exit_code = CONFLICT


class TryLater(click.ClickException):
    """A server does not answer for now."""

    exit_code = TRY_LATER
