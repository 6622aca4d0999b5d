"""`lettrage events replay`: decide stored events again from their facts, straight in the database.

Who may read and write the database needs no token of the API. Should this command be killed, a clock goes on with it.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import uuid4

import click
import msgspec

from monitoring import logs
from schemas.decisions import Outcome
from schemas.replays import MAX_IDS, Change, Filter, ReplayView
from worker.commands.discrepancies import checked_comment, checked_name
from worker.commands.exits import TryLater
from worker.commands.help import Command
from worker.commands.installation import UNREACHABLE, database_settings, unreachable
from worker.commands.output import Progress, as_json, print_fields, print_json, print_table, say, text
from worker.commands.types import whole_type
from worker.replaying import Replayer
from worker.store.port import StoreUnavailableError
from worker.store.postgres import PostgresStore
from worker.store.replays import Replays, Wanted

SHOWN: Final = 1_000
"""Changes in a list for people; the API and `--json` have as many."""

Answer = TypeVar("Answer")


class Moment(click.ParamType[datetime]):
    """A time with its offset from UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:  # noqa: ANN401
        """Read `2026-11-23T08:30:00Z`; a date alone is its first moment, UTC."""
        said = str(value)
        try:
            when = datetime.fromisoformat(f"{said}T00:00:00Z" if re.fullmatch(r"\d{4}-\d\d-\d\d", said) else said)
            if when.tzinfo is None:
                self.fail(f"{said!r} has no offset: add Z for UTC, or one such as +01:00", param, ctx)
            return when.astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(f"{said!r} is no time such as 2026-11-23T08:30:00Z, and no date such as 2026-11-23", param, ctx)


@click.command(
    "replay",
    short_help="Decide stored events again from their facts; put right what differs.",
    cls=Command,
    examples=(
        "lettrage events replay --regie enfance --since 2026-11-01 --dry-run",
        'lettrage events replay --parked --comment "the key is in the configuration now"',
        'lettrage events replay ID ID --comment "a row was edited by hand"',
    ),
)
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--since", type=Moment(), help="Only those received then or later.")
@click.option("--until", type=Moment(), help="Only those received before.")
@click.option("--regie", help="Only those of the régie with this code.")
@click.option("--type", "event_type", help="Only those of this type; payment.started is short for the whole name.")
@click.option("--outcome", type=click.Choice([each.value for each in Outcome]), help="Only those with this outcome.")
@click.option("--parked", is_flag=True, help="Those that failed too often: they are tried again.")
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@click.option("--comment", help="Why, for whoever looks at it later; required unless it is a dry run.")
@click.option("--by", help="Who has it done; default: the user of this session.")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@as_json
def replay_events(
    ids: tuple[str, ...],
    comment: str | None,
    by: str | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **said: Any,  # noqa: ANN401 (options)
) -> None:
    """Replay the events with these IDs, or those that the options choose; without any, all of them.

    Each event's invoices and payments are computed anew from all their facts, each fact with the
    configuration and at the time that were its own. So a healthy database does not change; a row
    that was edited by hand, or decided wrongly by an older version, is put right. That is written
    to the journal with a reason of its own and told to the portal. No gateway is asked.

    With --parked, events that failed too often are given back to the workers instead.

    It is safe to repeat, gives way to other work, and goes on by itself should it be killed.

    Exit code 75 when the database cannot be reached.
    """
    chosen = _filter(ids, said)
    if comment is None and not dry_run:
        raise click.UsageError("Say why: --comment. Or look first: --dry-run.")
    told = None if comment is None else checked_comment(comment)
    wanted = Wanted(chosen, dry_run, told, checked_name(by))
    matched = _with_replayer(lambda replayer: replayer.count(wanted))
    if not dry_run:
        say(f"{matched:,} events are to be replayed.")
        if not yes:
            click.confirm("Replay them?", abort=True, err=True)
    view = _with_replayer(lambda replayer: _run(replayer, wanted, matched))
    if as_json:
        print_json(view)
    else:
        _print(view)


def _filter(ids: Sequence[str], said: dict[str, Any]) -> Filter:
    """What the options choose.

    Raises:
        click.UsageError: no event can be like that.
    """
    if len(ids) > MAX_IDS:
        raise click.UsageError(f"At most {MAX_IDS:,} ids at once, not {len(ids):,}.")
    event_type = said.pop("event_type")
    chosen = {**said, "ids": list(ids) or None, "type": None if event_type is None else whole_type(event_type)}
    try:
        return msgspec.convert(chosen, Filter)
    except msgspec.ValidationError:
        wrong = "a --regie is 1 to 40 of a-z, 0-9 and -, an ID has 1 to 1,000 characters"
        raise click.UsageError(f"No event is like that: {wrong}.") from None


def _with_replayer(work: Callable[[Replayer], Awaitable[Answer]]) -> Answer:
    """Do something with what runs replays.

    Raises:
        TryLater: the database cannot be reached. A replay that was begun goes on in a clock.
    """
    logs.configure()
    url = database_settings().database_url or ""
    try:
        return asyncio.run(_opened(url, work))
    except (*UNREACHABLE, StoreUnavailableError) as error:
        raise TryLater(unreachable(error)) from None


async def _opened(url: str, work: Callable[[Replayer], Awaitable[Answer]]) -> Answer:
    store = await PostgresStore.open(url, size=2, application_name="lettrage events replay")
    try:
        return await work(Replayer(Replays(store, uuid4().hex), store.waiting, lambda _: None))
    finally:
        await store.close()


async def _run(replayer: Replayer, wanted: Wanted, matched: int) -> ReplayView:
    progress = Progress(f"of {matched:,} events replayed")
    replay_id = await replayer.begin(wanted, matched)
    try:
        return await replayer.run(replay_id, progress.show)
    finally:
        progress.end()


def _print(view: ReplayView) -> None:
    """Changes in columns, what it came to below."""
    if view.changes:
        print_table(("regie", "what", "from", "to", "reason", "differs"), map(_row, view.changes))
        click.echo()
    verb = "would change" if view.dry_run else "changed"
    fields: list[tuple[str, object]] = [("replay", view.id), ("events", view.replayed), (verb, view.changed)]
    fields += [(f"then {outcome}", count) for outcome, count in sorted(view.outcomes.items())]
    if view.failed:
        fields.append(("failed", f"{view.failed} dossiers could not be computed: see the log"))
    print_fields(fields)
    if view.changed > len(view.changes):
        say(f"Only the first {SHOWN:,} changes are shown.")


def _row(change: Change) -> tuple[object, ...]:
    what = next(
        f"{kind} {text(name)}"
        for kind, name in (
            ("discrepancy", change.discrepancy),
            ("invoice", change.invoice),
            ("payment", change.payment),
            ("reference", change.gateway_reference),
        )
        if name is not None
    )
    return change.regie, what, change.before, change.after, change.reason, ", ".join(change.fields)
