"""`lettrage events`: send them to the API, look at what is stored."""

import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

import click
import msgspec

from schemas.views import EventView, Page
from worker.commands.exits import CONFLICT, FAILED, Failed, NotFound, TryLater
from worker.commands.help import Command
from worker.commands.installation import reading
from worker.commands.output import Progress, as_json, print_fields, print_json, print_table, say, text
from worker.commands.replays import replay_events
from worker.commands.sending import (
    ARCHIVE,
    EVENTS,
    Courier,
    Found,
    Refused,
    Result,
    Unavailable,
    batches,
    events_in,
    everyday,
)
from worker.commands.types import whole_type
from worker.settings import read
from worker.store.archive import ArchivedEvent, archived
from worker.store.views import MAX_PLACE, CursorError, Views

SHOWN: Final = 50
"""Events in a list for people: a screen."""
SHOWN_EVERY: Final = 1_000
"""Events between two looks at a count that grows."""


@click.group()
def events() -> None:
    """Send events to the API, look at those that are stored, replay them."""


events.add_command(replay_events)


@events.command(
    short_help="Send CloudEvents from files to the API.",
    cls=Command,
    examples=(
        "LETTRAGE_TOKEN=... lettrage events send invoices.jsonl",
        "lettrage events send - --url https://lettrage.example --json < event.json",
        "LETTRAGE_TOKEN=... lettrage events send --archive archive.json",
    ),
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--url", help="Where the API is; default: http://HOST:PORT of this installation.")
@click.option(
    "--token-env", default="LETTRAGE_TOKEN", show_default=True, help="The variable that has the client's token."
)
@click.option("--archive", is_flag=True, help="Give back what `lettrage events list --json` printed.")
@as_json
def send(files: tuple[Path, ...], url: str | None, token_env: str, *, archive: bool, as_json: bool) -> None:
    """Send the CloudEvents in each FILE (- is stdin) to the API, in batches of up to 1,000.

    A file holds one JSON object, a JSON array, or one object a line. Each event's result is
    printed. Sending is safe to repeat: what is stored already comes back as a duplicate.

    With --archive, and the token of a client with the scope admin, events come back as they
    were: of the same client, received at the same time, of any age and type. So a restored
    backup gets what happened since; what it has already is a duplicate. Events are decided
    again in their order, now: money, invoices and discrepancies come out the same, but a
    payment whose time is over takes no hold, so that one that was rejected shows as expired,
    money counts as late, and the history has the time of this import.

    Exit code 1 when an event was rejected, 4 when only its content differs from what is stored
    under its id, 75 when the server could not take them all: send the same again later.
    """
    token = os.environ.get(token_env, "").strip()
    if not token:
        raise click.UsageError(f"No token: set {token_env}. `lettrage token` makes one.")
    address = _checked_url(url or read(os.environ).settings.own_url)
    courier = Courier(address, token, target=ARCHIVE if archive else EVENTS)
    found = _events_of(files) if archive else map(everyday, _events_of(files))
    tally: Counter[str] = Counter()
    printer = _JsonResults() if as_json else _LineResults()
    printer.begin()
    try:
        _send_all(found, courier, tally, printer)
    finally:
        printer.end()
    _finish(tally)


@events.command(
    "list",
    short_help="The stored events, newest first.",
    cls=Command,
    examples=(
        "lettrage events list --regie enfance --type payment.started",
        "lettrage events list --parked",
        "lettrage events list --json > archive.json",
    ),
)
@click.option("--regie", help="Only those of the régie with this code.")
@click.option("--type", "event_type", help="Only those of this type; payment.started is short for the whole name.")
@click.option("--parked", is_flag=True, help="Only those that failed too often, oldest first.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1000),
    help=f"How many of the newest; default: {SHOWN}, with --json all of them.",
)
@click.option("--cursor", help="Go on where the last page ended, as it says.")
@as_json
def list_events(
    regie: str | None, event_type: str | None, limit: int | None, cursor: str | None, *, parked: bool, as_json: bool
) -> None:
    """List stored events and what became of each, newest first.

    With --json they are printed whole, oldest first, as one array of CloudEvents: an archive,
    which `lettrage events send --archive` takes back. Its attribute recordedtime is when the
    event was received, lettrageclient who sent it (empty: a gateway), lettrageraw a gateway's
    request, byte for byte. A callback comes after the report of what it said. It holds all
    that families' portals and gateways sent: keep it as you keep the database, and no longer.
    Of an event whose time was over it has what is left, and in lettrageblanked the digest of
    what it was.
    """
    if parked and (regie or event_type or cursor):
        raise click.UsageError("--parked goes with --limit and --json alone.")
    if as_json and cursor:
        raise click.UsageError("--cursor is for pages; with --json, leave out --limit and have all.")
    kind = None if event_type is None else whole_type(event_type)

    async def page(views: Views) -> Page:
        if parked:
            return Page(items=await views.parked_events(limit=limit or SHOWN), next_cursor=None)
        return await views.events(regie=regie, event_type=kind, limit=limit or SHOWN, cursor=cursor)

    async def print_archive(views: Views) -> None:
        between = None if limit is None else _between((await page(views)).items)
        await _print_array(archived(views, regie=regie, event_type=kind, parked=parked, between=between))

    if as_json:
        reading(print_archive)
        return
    try:
        shown = reading(page)
    except CursorError:
        raise click.BadParameter("not one that a page ended with", param_hint="--cursor") from None
    print_table(("place", "received", "type", "regie", "outcome", "reason", "id"), map(_row, shown.items))
    if shown.next_cursor:
        say(f"There are more: --cursor {shown.next_cursor}")


@events.command(
    "show",
    short_help="One stored event, with its data.",
    cls=Command,
    examples=(
        "lettrage events show 0b0f6a3e-93a8-4b6c-9d2c-4f1f2b3c4d5e",
        "lettrage events show 1042 --json | jq .data",
    ),
)
@click.argument("event_id", metavar="ID")
@as_json
def show_event(event_id: str, *, as_json: bool) -> None:
    """Show the event with that ID (its sender's, or its place in the list), its data and what became of it.

    Two senders may use the same id: then each one's event is shown.

    Exit code 3 when there is none.
    """

    async def ask(views: Views) -> list[EventView]:
        found = await views.events_of_id(event_id) if "\0" not in event_id else []
        if not found and event_id.isascii() and event_id.isdigit() and int(event_id) <= MAX_PLACE:
            event = await views.event(int(event_id))
            found = [event] if event else []
        return found

    found = reading(ask)
    if not found:
        raise NotFound(f"No event has the id or the place {event_id!r}.")
    if as_json:
        print_json(found[0] if len(found) == 1 else found)
        return
    for index, event in enumerate(found):
        if index:
            click.echo()
        _print_event(event)


def _between(events: list[EventView]) -> tuple[int, int]:
    """Where events are: after the first place, up to the second."""
    places = [event.place for event in events]
    return (min(places) - 1, max(places)) if places else (0, 0)


async def _print_array(events: AsyncIterator[ArchivedEvent]) -> None:
    """One JSON array, an event a line; when it breaks off, it lacks its end, and is no JSON."""
    progress = Progress("events listed")
    encoder = msgspec.json.Encoder()
    count = 0
    click.echo("[", nl=False)
    try:
        async for event in events:
            click.echo(b",\n" if count else b"\n", nl=False)
            click.echo(encoder.encode(event), nl=False)
            count += 1
            if count % SHOWN_EVERY == 0:
                progress.show(count)
    finally:
        progress.end()
    click.echo("\n]")


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = None
    if not usable:
        raise click.BadParameter("an address such as https://lettrage.example is wanted", param_hint="--url")
    return url


class _LineResults:
    """Results for people: a line for each event."""

    def begin(self) -> None:
        """Nothing comes before the first line."""

    def end(self) -> None:
        """Nothing comes after the last."""

    def print(self, result: Result) -> None:
        """One event's line."""
        problem = result.answer.get("problem")
        click.echo(f"{result.status:<9}  {text(result.answer.get('id'))}  {_why(result.where, problem)}".rstrip())


class _JsonResults:
    """Results for programs: one document, written as it grows, whole however it ends."""

    def __init__(self) -> None:
        self._between = ""

    def begin(self) -> None:
        """Open the document."""
        click.echo('{"results":[', nl=False)

    def end(self) -> None:
        """Close the document."""
        click.echo("]}")

    def print(self, result: Result) -> None:
        """One event's object, as the API wrote it, and where it came from."""
        click.echo(self._between + json.dumps(result.answer | {"from": result.where}), nl=False)
        self._between = ","


def _why(where: str, problem: object) -> str:
    if not isinstance(problem, dict):
        return ""
    faults = [f"{fault.get('pointer')} {fault.get('detail')}" for fault in problem.get("errors") or ()]
    said = "; ".join(str(part) for part in (problem.get("title"), problem.get("detail"), *faults) if part)
    return f"({where}) {text(said)}"


def _send_all(
    found: Iterable[Found], courier: Courier, tally: "Counter[str]", printer: _LineResults | _JsonResults
) -> None:
    progress = Progress("events sent")
    try:
        for batch in batches(found):
            for result in courier.deliver(batch):
                tally[result.status] += 1
                printer.print(result)
            progress.show(tally.total())
    except Unavailable as error:
        raise TryLater(
            f"{error}\n{_summary(tally)} Send the same again later: what is stored is not stored twice."
        ) from None
    except Refused as error:
        raise Failed(f"{error}\n{_summary(tally)}") from None
    finally:
        progress.end()


def _events_of(files: tuple[Path, ...]) -> Iterator[Found]:
    for path in files:
        with _opened(path) as file:
            yield from events_in(file, path.name)


def _opened(path: Path) -> contextlib.AbstractContextManager[BinaryIO]:
    if str(path) == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return path.open("rb")
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}") from None


def _finish(tally: "Counter[str]") -> None:
    say(_summary(tally))
    if tally["rejected"]:
        sys.exit(FAILED)
    if tally["conflict"]:
        sys.exit(CONFLICT)


def _summary(tally: "Counter[str]") -> str:
    parts = ", ".join(f"{count:,} {status}" for status, count in sorted(tally.items()))
    return f"{tally.total():,} events sent{': ' if parts else ''}{parts}."


def _row(event: EventView) -> tuple[object, ...]:
    waiting = "parked" if event.parked else "pending"
    kind = event.type.removeprefix("fr.lettrage.").removesuffix(".v1")
    outcome = event.outcome or waiting
    return event.place, text(event.received_at), kind, event.regie, outcome, event.reason or event.error, event.id


def _print_event(event: EventView) -> None:
    fields = {name: getattr(event, name) for name in event.__struct_fields__ if name != "data"}
    print_fields(fields.items())
    click.echo(json.dumps(event.data, indent=2, ensure_ascii=False))
