"""`lettrage doctor`: what is wrong with this installation, and how to mend it."""

import asyncio
import os
import sys
from typing import Final

import click

from worker.commands.exits import FAILED
from worker.commands.help import Command
from worker.commands.output import as_json, print_json, text
from worker.doctor.check import Check, Status
from worker.doctor.examine import examine

SIGNS: Final = {Status.OK: "ok     ", Status.WARNING: "warning", Status.FAILED: "FAILED "}
COLOURS: Final = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "red"}


@click.command(cls=Command, examples=("lettrage doctor", "lettrage doctor --json | jq '.checks[].mend'"))
@as_json
def doctor(*, as_json: bool) -> None:
    """Find what is wrong with this installation, and how to mend it. Changes nothing.

    Looks at this machine, the configuration, the database, Redis, the processes and the work under
    way. Run it where Lettrage runs, with the same environment and in the same folder.

    Exit code 1 when a check failed; warnings alone are 0.
    """
    checks = asyncio.run(examine(os.environ))
    broken = any(check.status is Status.FAILED for check in checks)
    if as_json:
        print_json({"ok": not broken, "checks": checks})
    else:
        for check in checks:
            _print(check)
    sys.exit(FAILED if broken else 0)


def _print(check: Check) -> None:
    sign = click.style(SIGNS[check.status], fg=COLOURS[check.status])
    click.echo(f"{sign}  {check.name}: {text(check.what)}")
    if check.mend:
        click.echo(f"         -> {text(check.mend)}")
