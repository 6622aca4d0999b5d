"""`lettrage retention`: what the clock is about to blank, and what keeps the rest; a look, nothing more."""

import asyncio

import click
from msgspec import Struct, field

from schemas.records import Retention
from worker.commands.exits import TryLater
from worker.commands.help import Command
from worker.commands.installation import UNREACHABLE, database_settings, unreachable
from worker.commands.output import as_json, print_fields, print_json, print_table, say
from worker.domain.retention import Kept
from worker.settings import Settings
from worker.store.port import StoreUnavailableError
from worker.store.postgres import PostgresStore
from worker.store.retention import Eraser

WHY = {
    Kept.RECENT: "something happened since, or families still see one of the invoices",
    Kept.WAITING: "an event waits, or is parked: lettrage events list --parked",
    Kept.HELD: "a hold is on",
    Kept.OWED: "an invoice is still to be paid: have it settled or withdrawn",
    Kept.UNEXPLAINED: "a discrepancy is open: lettrage discrepancies list",
}


class Foreseen(Struct, kw_only=True):
    """What is over now. `kept`: facts that are old enough, by what keeps them."""

    periods: Retention
    raw: int
    personal: int
    kept: dict[Kept, int] = field(default_factory=dict)


@click.command(cls=Command, examples=("lettrage retention", "lettrage retention --json | jq .kept"))
@as_json
def retention(*, as_json: bool) -> None:
    """Say which events are kept whole no longer, and what keeps others that are as old.

    Nothing is changed: the clock blanks what is over by itself, a few hundred rows at a time. How
    long what is kept is configured (retention_months, raw_retention_months and
    notification_retention_months); docs/privacy.md says what each covers.
    """
    foreseen = _foreseen(database_settings())
    if as_json:
        print_json(foreseen)
        return
    print_fields(
        [
            ("raw", f"after {foreseen.periods.raw_months} months: {foreseen.raw:,} events to blank now"),
            ("personal", f"after {foreseen.periods.months} months: {foreseen.personal:,} events to blank now"),
            ("notifications", f"after {foreseen.periods.notification_months} months, once delivered"),
        ]
    )
    if foreseen.kept:
        click.echo()
        print_table(("kept", "events", "because"), [(kept, f"{n:,}", WHY[kept]) for kept, n in foreseen.kept.items()])
    say("Nothing was changed: the clock does this by itself.")


def _foreseen(settings: Settings) -> Foreseen:
    try:
        return asyncio.run(_looked(settings.database_url or "", settings.retention))
    except (*UNREACHABLE, StoreUnavailableError) as error:
        raise TryLater(unreachable(error)) from None


async def _looked(database_url: str, periods: Retention) -> Foreseen:
    store = await PostgresStore.open(database_url, size=1, application_name="lettrage retention")
    try:
        found = await Eraser(store, periods).preview()
    finally:
        await store.close()
    kept = {kept: found.kept[kept] for kept in Kept if found.kept[kept]}
    return Foreseen(periods=periods, raw=found.erased["raw"], personal=found.erased["personal"], kept=kept)
