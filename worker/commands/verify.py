"""`lettrage verify`: prove that the books are right, from the database alone."""

import asyncio
from concurrent.futures.process import BrokenProcessPool

import asyncpg
import click

from worker.commands.exits import FAILED, Failed, NotFound, TryLater
from worker.commands.help import Command
from worker.commands.installation import UNREACHABLE, database_settings, unreachable
from worker.commands.output import Progress, as_json, print_fields, print_json, print_table, say
from worker.verify.books import UnknownRegieError, Verdict, proved_books


@click.command(
    cls=Command,
    examples=(
        "lettrage verify",
        "lettrage verify --regie enfance",
        "lettrage verify --json > books-2026-11.json",
    ),
)
@click.option("regies", "--regie", multiple=True, metavar="CODE", help="Only this régie; may be given again.")
@as_json
@click.pass_context
def verify(ctx: click.Context, regies: tuple[str, ...], *, as_json: bool) -> None:
    """Prove that the journal is whole and that the books follow from the facts.

    Follows the chain of seals of each régie, then decides every event again, in its order, with
    the policy and the time that were its own, and compares each invoice, payment, charge, hold and
    discrepancy with the tables. What differs is named: table, row, column, cents.

    Reads one snapshot of the database and nothing else; any installation may run beside it. Events
    that no seal covers yet are said. Keep the heads of the chains elsewhere: they prove later that
    nothing before them was rewritten. Exit code 1 when anything differs, 3 without such a régie.
    """
    verdict = _verified(list(regies) or None)
    if as_json:
        print_json(verdict)
    else:
        _print(verdict)
    if not verdict.ok:
        ctx.exit(FAILED)


def _verified(regies: list[str] | None) -> Verdict:
    settings = database_settings()
    progress = Progress("checks")
    try:
        return asyncio.run(proved_books(settings.database_url or "", regies, progress.show))
    except UnknownRegieError as error:
        raise NotFound(f"There has never been a régie {error} here.") from None
    except BrokenProcessPool:
        raise Failed("A helping process ended: the machine may have too little memory.") from None
    except asyncpg.InsufficientPrivilegeError as error:
        raise Failed(f"This database user may not read everything: {error}") from None
    except UNREACHABLE as error:
        raise TryLater(unreachable(error)) from None
    finally:
        progress.end()


def _blanked(verdict: Verdict) -> str:
    """Honestly: of what is gone nothing can be proved, and of what an older version sealed, less."""
    if not verdict.unproven:
        return f"{verdict.blanked:,} events, their facts as they were sealed"
    return (
        f"{verdict.blanked:,} events; the facts of {verdict.unproven:,} of them, sealed by an older version, "
        "are proved by the record of their blanking alone"
    )


def _print(verdict: Verdict) -> None:
    print_fields(
        [
            ("events", f"{verdict.events:,} decided again, {verdict.waiting:,} waiting"),
            ("invoices", f"{verdict.invoices:,}"),
            ("payments", f"{verdict.payments:,}"),
            ("discrepancies", f"{verdict.discrepancies:,}"),
            ("not sealed yet", f"{verdict.unsealed:,}"),
            ("blanked", _blanked(verdict)),
        ]
    )
    if verdict.chains:
        click.echo()
        print_table(("regie", "seals", "head"), [(each.regie, each.seals, each.head) for each in verdict.chains])
    if verdict.differences:
        click.echo()
        rows = [(d.regie, d.table, d.row, d.column, d.stored, d.expected, d.what) for d in verdict.differences]
        print_table(("regie", "table", "row", "column", "stored", "should be", "what"), rows)
    if verdict.ok:
        say("All right.")
    else:
        more = verdict.found - len(verdict.differences)
        say(f"{verdict.found:,} differences." + (f" {more:,} of them are not listed." if more else ""))
