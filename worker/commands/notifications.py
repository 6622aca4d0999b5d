"""`lettrage notifications`: what portals were told, and telling it again."""

import asyncio

import asyncpg
import click

from schemas.notifications import outbox_id
from schemas.views import NotificationView, Page
from worker.commands.exits import NotFound, TryLater
from worker.commands.help import Command
from worker.commands.installation import UNREACHABLE, database_settings, reading, unreachable
from worker.commands.output import as_json, print_json, print_table, say
from worker.store.deliveries import STATES, Deliveries, chosen
from worker.store.deliveries import notifications as found
from worker.store.views import CursorError, Views

SHOWN = 50
"""Notifications in a list for people: a screen."""


@click.group()
def notifications() -> None:
    """Look at what portals were told, and tell it again."""


@notifications.command(
    "list",
    short_help="Notifications, newest first.",
    cls=Command,
    examples=(
        "lettrage notifications list --regie enfance --state failing",
        "lettrage notifications list --json | jq .items[0].attempts",
    ),
)
@click.option("--regie", help="Only those of the régie with this code.")
@click.option("--state", type=click.Choice(STATES), help="Only those that are so.")
@click.option("--limit", type=click.IntRange(1, 1000), default=SHOWN, show_default=True, help="How many.")
@click.option("--cursor", help="Go on where the last page ended, as it says.")
@as_json
def list_notifications(regie: str | None, state: str | None, limit: int, cursor: str | None, *, as_json: bool) -> None:
    """List notifications and how their latest attempts ended, newest first.

    With --json each has every attempt, and what was sent.
    """
    regies = None if regie is None else [regie]

    async def ask(views: Views) -> Page:
        return await found(views, regies=regies, state=state, limit=limit, cursor=cursor)

    try:
        page = reading(ask)
    except CursorError:
        raise click.BadParameter("not one that a page ended with", param_hint="--cursor") from None
    if as_json:
        print_json(page)
        return
    titles = ("id", "at", "regie", "type", "about", "state", "attempts", "latest", "next")
    print_table(titles, map(_row, page.items))
    if page.next_cursor:
        say(f"There are more: --cursor {page.next_cursor}")


@notifications.command(
    short_help="Send notifications again.",
    cls=Command,
    examples=(
        "lettrage notifications resend 1042 1043",
        "lettrage notifications resend --regie enfance --dry-run",
        "lettrage notifications resend --regie enfance --yes",
    ),
)
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--regie", help="All of this régie that were not delivered.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
def resend(ids: tuple[str, ...], regie: str | None, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Send the notifications with these IDs again (numbers of the list, or webhook-ids), delivered ones too.

    With --regie, send all of a régie's that were not delivered, also those given up, now. A
    portal that answered 410 is told again. Each keeps its webhook-id, so a portal that has it
    already takes it for what it is.

    Exit code 3 when an ID names none.
    """
    if bool(ids) == (regie is not None):
        raise click.UsageError("Name IDs, or a --regie.")
    places = None if not ids else _places(ids)
    regies = None if regie is None else [regie]
    count = reading(lambda views: chosen(views, places, regies))
    if places is not None and count < len(places):
        raise NotFound(f"{len(places) - count} of the IDs name no notification; nothing was sent.")
    if not dry_run and count:
        if not yes:
            click.confirm(f"Send {count:,} notifications again?", abort=True, err=True)
        count = _resend(places, regies)
    if as_json:
        print_json({"matched": count, "resent": 0 if dry_run else count})
    else:
        say(f"{count:,} notifications would be sent again." if dry_run else f"{count:,} notifications are sent again.")


def _places(ids: tuple[str, ...]) -> list[int]:
    places = {each: outbox_id(each) for each in ids}
    for each, place in places.items():
        if place is None:
            raise NotFound(f"No notification has the id {each!r}.")
    return sorted({place for place in places.values() if place is not None})


def _resend(ids: list[int] | None, regies: list[str] | None) -> int:
    settings = database_settings()

    async def run() -> int:
        async with asyncpg.create_pool(settings.database_url, min_size=1, max_size=1, command_timeout=60) as pool:
            return await Deliveries(pool).resend(ids, regies)

    try:
        return asyncio.run(run())
    except UNREACHABLE as error:
        raise TryLater(unreachable(error)) from None


def _row(each: NotificationView) -> tuple[object, ...]:
    about = each.data.get("number") or each.data.get("kind")
    last = each.attempts[-1] if each.attempts else None
    latest = last and f"{last.outcome} {last.status or last.error or ''}".strip()
    return each.id, each.at, each.regie, each.type, about, each.state, len(each.attempts), latest, each.next_attempt_at
