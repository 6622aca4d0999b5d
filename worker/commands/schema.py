"""`lettrage migrate`: bring the database's schema to what this code needs."""

import asyncio
import time
from typing import Final

import asyncpg
import click

from worker.commands.exits import Failed, TryLater
from worker.commands.help import Command
from worker.commands.installation import UNREACHABLE, settings_or_fail, unreachable, with_database
from worker.commands.output import as_json, print_json, say
from worker.store.migrate import MigrationError
from worker.store.migrate import migrate as apply_all

WAIT_SECONDS: Final = 60.0
"""How long a database that is still starting is waited for; a release that waits for ever looks like one that works."""
RETRY_SECONDS: Final = 0.5


@click.command(
    cls=Command,
    examples=("lettrage migrate", "DATABASE_URL=postgresql://... lettrage migrate --json"),
)
@as_json
def migrate(*, as_json: bool) -> None:
    """Bring the database's schema to what this version of Lettrage needs.

    Forward only, each step in a transaction; any number of machines may do it at once, while the
    others run. Waits up to a minute for a database that does not answer yet (then exit code 75).
    `lettrage up` does it by itself.
    """
    settings = with_database(settings_or_fail())
    applied = migrated(settings.database_url or "")
    if as_json:
        print_json({"applied": applied})
        return
    for name in applied:
        click.echo(name)
    say(f"{len(applied)} applied." if applied else "The schema is current.")


def migrated(database_url: str) -> list[str]:
    """Apply what is missing; its names.

    Raises:
        TryLater: the database did not answer in time, or traffic let no change through.
        Failed: files and database disagree.
    """
    until = time.monotonic() + WAIT_SECONDS
    told = False
    while True:
        try:
            return asyncio.run(apply_all(database_url))
        except MigrationError as error:
            raise Failed(str(error)) from None
        except asyncpg.InsufficientPrivilegeError as error:
            raise Failed(f"This database user may not change the schema: {error}") from None
        except asyncpg.LockNotAvailableError:
            raise TryLater("Long transactions let no change of the schema through. Nothing is half done.") from None
        except UNREACHABLE as error:
            if time.monotonic() > until or not _may_pass(error):
                raise TryLater(unreachable(error)) from None
            if not told:
                say(f"Waiting up to {WAIT_SECONDS:.0f} s for the database: {type(error).__name__} {error}")
                told = True
            time.sleep(RETRY_SECONDS)


def _may_pass(error: BaseException) -> bool:
    """Whether waiting may help: the server is absent, starting, stopping or full, not of another opinion."""
    return not isinstance(error, asyncpg.PostgresError) or isinstance(
        error,
        asyncpg.PostgresConnectionError | asyncpg.OperatorInterventionError | asyncpg.InsufficientResourcesError,
    )
