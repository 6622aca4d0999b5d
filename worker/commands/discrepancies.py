"""`lettrage discrepancies`: what money and books disagree about, and closing it, straight in the database.

Who may read and write the database needs no token of the API, and it works while web is down.
"""

import asyncio
import getpass
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
import msgspec

from schemas.records import DiscrepancyKind, DiscrepancyState, Resolution
from schemas.views import BothSides, DiscrepancyView, MoneySide
from worker.commands.exits import CONFLICT, TRY_LATER, NotFound, TryLater
from worker.commands.help import Command
from worker.commands.installation import UNREACHABLE, database_settings, reading, unreachable
from worker.commands.output import as_json, euros, print_fields, print_json, say, text
from worker.store.outcomes import Outcomes
from worker.store.port import StoreUnavailableError
from worker.store.postgres import PostgresStore
from worker.store.resolutions import Desk, Refusal, Resolved, Sought, Wanted, find, foreseen, resolve
from worker.store.views import Views

SHOWN: Final = 50
"""Discrepancies in a list for people when they do not say how many."""
MAX_AT_ONCE: Final = 1_000
"""Discrepancies closed by one command: what a person can answer for, and one transaction of the worker."""
WAIT_SECONDS: Final = 10.0
"""No bell is rung from here, so that Redis is not needed: the clock takes up what is stored within about a second."""
MAX_COMMENT_CHARS: Final = 500
"""What an event of this type holds."""
CONNECTIONS: Final = 4
"""Discrepancies that are closed side by side."""
ALL: Final = "all"

TODO: Final = {
    DiscrepancyKind.DOUBLE_PAYMENT: "give it back and send payment.refunded, or credit it",
    DiscrepancyKind.UNDERPAID: "give all of it back and send payment.refunded, or credit it; the invoice is not paid",
    DiscrepancyKind.OVERPAID: "give the rest back and send payment.refunded, or credit it",
    DiscrepancyKind.PAID_WITHDRAWN: "give it back and send payment.refunded, or credit it; or issue the invoice again",
    DiscrepancyKind.MISSING: "collect it and send invoice.settled, or write it off; the invoice stays as it is",
    DiscrepancyKind.REVERSED: "the bank took the money back: collect it again, then explain it",
    DiscrepancyKind.UNKNOWN_PAYMENT: "find whose money it is: the portal sends its payment.started, or give it back",
    DiscrepancyKind.UNVERIFIED_CALLBACK: "see why it proves nothing, look the payment up at the gateway, explain it",
    DiscrepancyKind.TEST_PAYMENT: "see who pays in test mode; nothing was settled by it, so explain it",
    DiscrepancyKind.GATEWAY_SILENT: "look the payment up at the gateway, then explain it",
}
"""What to do about each kind. Source: docs/reasons.md says what each means."""
WHY: Final = {
    Refusal.UNKNOWN: "there is no such discrepancy",
    Refusal.NOT_OPEN: "it is not open",
    Refusal.NOT_APPLICABLE: "nothing is to be given back, so that nothing can be credited",
    Refusal.AMOUNT_CHANGED: "its amount changed meanwhile",
    Refusal.UNSTORABLE: "the database refuses it",
}
"""Refusals, for people."""
_UNITS: Final = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


class Age(click.ParamType[timedelta]):
    """A duration: whole seconds, minutes, hours or days."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:  # noqa: ANN401
        """Read `7d`."""
        match = re.fullmatch(r"([0-9]{1,6})([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is no duration such as 30m, 12h or 7d", param, ctx)
        return int(match[1]) * _UNITS[match[2]]


@click.group()
def discrepancies() -> None:
    """Look at what money says and the books do not, and close it."""


@discrepancies.command(
    "list",
    short_help="The discrepancies, oldest first, with both sides.",
    cls=Command,
    examples=(
        "lettrage discrepancies list --regie enfance",
        "lettrage discrepancies list --kind double_payment --older-than 7d",
        "lettrage discrepancies list --state all --json | jq '.items[].id'",
    ),
)
@click.option("--regie", help="Only those of the régie with this code.")
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in DiscrepancyKind]),
    metavar="KIND",
    help=f"Only those of this kind: {', '.join(DiscrepancyKind)}.",
)
@click.option(
    "--state",
    type=click.Choice([*(state.value for state in DiscrepancyState), ALL]),
    default=DiscrepancyState.OPEN.value,
    show_default=True,
    help="Closed: by the facts. Resolved: by a person.",
)
@click.option("--payment", help="Only those of the payment with this reference.")
@click.option("--invoice", help="Only those of the invoice with this number.")
@click.option("--older-than", type=Age(), help="Only those that have been open for so long: 30m, 12h, 7d.")
@click.option(
    "--limit", type=click.IntRange(1, MAX_AT_ONCE), default=SHOWN, show_default=True, help="How many of the oldest."
)
@as_json
def list_discrepancies(state: str, limit: int, *, as_json: bool, **sought: Any) -> None:  # noqa: ANN401 (options)
    """List discrepancies, oldest first: what money says, what the books say, what to do.

    They open and close with the facts; `lettrage discrepancies resolve` closes one by hand.
    """
    wanted = Sought(state=None if state == ALL else state, **sought)
    found = reading(lambda views: find(views, wanted, limit + 1))
    shown = found[:limit]
    if as_json:
        print_json({"items": [_document(each) for each in shown]})
    else:
        for index, each in enumerate(shown):
            if index:
                click.echo()
            print_fields(lines_of(each, datetime.now(UTC)))
    if len(found) > limit:
        say(f"There are more than {limit}: raise --limit, or look for some of them.")


@discrepancies.command(
    "resolve",
    short_help="Close discrepancies, with the reason.",
    cls=Command,
    examples=(
        'lettrage discrepancies resolve ID --as refunded --comment "transfer of 3 March"',
        'lettrage discrepancies resolve ID ID --as explained --comment "test of the new portal" --dry-run',
    ),
)
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option(
    "--as", "resolution", required=True, type=click.Choice([how.value for how in Resolution]), help="How it was closed."
)
@click.option("--comment", required=True, help="Why, for whoever looks at it later; up to 500 characters.")
@click.option("--by", help="Who closes it; default: the user of this session.")
@click.option("--dry-run", is_flag=True, help="Say what would be closed; close nothing.")
@click.option("--yes", is_flag=True, help="Close several without asking.")
@as_json
def resolve_discrepancies(
    ids: tuple[str, ...], resolution: str, comment: str, by: str | None, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Close the discrepancies with these IDs (`lettrage discrepancies list` shows them).

    For what each amounts to now: should it grow later, it opens again. `credited` (an avoir) counts
    as a refund of that amount; the others move no money. No resolution settles an invoice: send
    invoice.settled. Doing the same twice counts once.

    Exit code 3 when there is no such discrepancy, 4 when one is not open or cannot be closed so, 75
    when it is stored and no worker has applied it yet: the same command tells what became of it.
    """
    chosen = Wanted(Resolution(resolution), checked_comment(comment), checked_name(by))
    seen = _seen(list(dict.fromkeys(ids)))
    if dry_run:
        _finish([_foreseen(each, chosen) for each in seen], as_json=as_json)
        return
    if len(seen) > 1:
        total = euros(sum(each.amount_cents for each in seen))
        say(f"{len(seen)} discrepancies, {total} in all, are to be closed as {resolution}.")
        if not yes:
            click.confirm("Close them?", abort=True, err=True)
    _finish([_result(each) for each in _resolved(seen, chosen)], as_json=as_json)


def lines_of(each: BothSides, now: datetime) -> list[tuple[str, object]]:
    """A discrepancy for people: names and values."""
    shown = each.discrepancy
    lines: list[tuple[str, object]] = [
        ("id", shown.id),
        ("what", f"{shown.kind}, {euros(shown.amount_cents)}, {shown.state}, {age(now - shown.opened_at)} old"),
        ("regie", shown.regie),
        ("payment", shown.payment),
        ("invoice", shown.invoice),
    ]
    lines += [
        (
            "money says",
            f"{payment.reference} {payment.state}: {_received(payment)}, {euros(payment.refunded_cents)} given back",
        )
        for payment in each.money
    ] or [("money says", "no payment is known")]
    lines += [
        (
            "books say",
            f"{invoice.number} {invoice.state}: {euros(invoice.amount_cents)}"
            + (f", paid by {invoice.paid_by}" if invoice.paid_by else ""),
        )
        for invoice in each.books
    ] or [("books say", "no invoice is known")]
    lines += [("detail", f"{name}: {value}") for name, value in shown.detail.items()]
    if shown.resolution is not None:
        lines.append(("closed", f"{shown.resolution} by {text(shown.resolved_by)} at {text(shown.resolved_at)}"))
        lines.append(("comment", shown.comment))
    if shown.state is DiscrepancyState.OPEN:
        lines.append(("to do", TODO[shown.kind]))
    return lines


def _received(payment: MoneySide) -> str:
    return f"{euros(payment.received_cents)} received of {euros(payment.amount_cents)}"


def age(past: timedelta) -> str:
    """How long something has been so, in its largest whole unit."""
    seconds = max(0, int(past.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def checked_comment(comment: str) -> str:
    """A comment that can be stored, and says something.

    Raises:
        click.BadParameter: it is not.
    """
    if not comment.strip() or len(comment) > MAX_COMMENT_CHARS or not _storable(comment):
        raise click.BadParameter(f"1 to {MAX_COMMENT_CHARS} characters, not blank, are wanted", param_hint="--comment")
    return comment


def checked_name(by: str | None) -> str:
    """Who closes it: as said, else the user of this session.

    Raises:
        click.BadParameter: nobody, or nothing that can be stored.
    """
    name = _user() if by is None else by
    if not re.fullmatch(r"[^\x00-\x1f\x7f]{1,100}", name) or not _storable(name):
        raise click.BadParameter("a name of 1 to 100 characters is wanted", param_hint="--by")
    return name


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without a name, as in some containers
        return ""


def _storable(value: str) -> bool:
    try:
        return "\0" not in value and bool(value.encode())
    except UnicodeEncodeError:
        return False


def _seen(ids: Sequence[str]) -> list[DiscrepancyView]:
    """The discrepancies with these ids, in their order.

    Raises:
        NotFound: one of them is not there; then none is closed.
    """
    if len(ids) > MAX_AT_ONCE:
        raise click.UsageError(f"At most {MAX_AT_ONCE:,} at once, not {len(ids):,}.")
    asked = [each for each in ids if _storable(each)]
    found = reading(lambda views: find(views, Sought(ids=asked), MAX_AT_ONCE))
    by_id = {each.discrepancy.id: each.discrepancy for each in found}
    missing = [each for each in ids if each not in by_id]
    if missing:
        raise NotFound(f"There is no discrepancy {', '.join(map(text, missing))}; nothing was closed.")
    return [by_id[each] for each in ids]


def _resolved(seen: Sequence[DiscrepancyView], wanted: Wanted) -> list[Resolved]:
    """What became of each.

    Raises:
        TryLater: the database cannot be reached. Doing the same again is safe.
    """
    url = database_settings().database_url or ""

    async def close(desk: Desk) -> list[Resolved]:
        return await asyncio.gather(*(resolve(each, wanted, desk) for each in seen))

    try:
        return asyncio.run(_at_a_desk(url, close))
    except (*UNREACHABLE, StoreUnavailableError) as error:
        raise TryLater(unreachable(error)) from None


async def _at_a_desk(url: str, work: Callable[[Desk], Awaitable[list[Resolved]]]) -> list[Resolved]:
    views = await Views.open(url, size=CONNECTIONS)
    try:
        store = await PostgresStore.open(url, size=CONNECTIONS, application_name="lettrage discrepancies")
        try:
            outcomes = Outcomes(url, views.outcome)
            return await work(Desk(views, store.record, outcomes.outcome, WAIT_SECONDS))
        finally:
            await store.close()
    finally:
        await views.close()


class _Result(msgspec.Struct, kw_only=True):
    """What became, or would become, of one discrepancy."""

    id: str
    status: str
    """`resolved`, `refused`, `waiting`, or of a dry run `would_resolve`."""
    reason: str | None
    discrepancy: DiscrepancyView


def _foreseen(shown: DiscrepancyView, wanted: Wanted) -> _Result:
    refusal = foreseen(shown, wanted)
    status = "would_resolve" if refusal is None else "refused"
    return _Result(id=shown.id, status=status, reason=refusal, discrepancy=shown)


def _result(done: Resolved) -> _Result:
    shown = done.discrepancy
    if done.refusal is not None:
        return _Result(id=shown.id, status="refused", reason=done.refusal, discrepancy=shown)
    if done.outcome is None:
        return _Result(id=shown.id, status="waiting", reason=None, discrepancy=shown)
    return _Result(id=shown.id, status="resolved", reason=done.outcome.reason, discrepancy=shown)


def _finish(results: Sequence[_Result], *, as_json: bool) -> None:
    """Print what became of each, and end with the code that says it."""
    if as_json:
        print_json({"results": results})
    else:
        for each in results:
            shown = each.discrepancy
            click.echo(f"{each.status:<13}  {each.id}  {shown.kind}  {euros(shown.amount_cents)}{_why(each)}")
    statuses = {each.status for each in results}
    if "waiting" in statuses:
        say("Stored, and no worker has applied it yet: the same command tells what became of it.")
    if "refused" in statuses:
        sys.exit(CONFLICT)
    if "waiting" in statuses:
        sys.exit(TRY_LATER)


def _why(each: _Result) -> str:
    if each.status != "refused" or each.reason is None:
        return ""
    return f"  ({WHY[Refusal(each.reason)]})"


def _document(each: BothSides) -> dict[str, object]:
    """A discrepancy for programs: as the API shows it, with both sides."""
    shown = each.discrepancy
    fields = {name: getattr(shown, name) for name in shown.__struct_fields__}
    return {**fields, "money": each.money, "books": each.books, "to_do": TODO[shown.kind]}
