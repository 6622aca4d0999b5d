"""`lettrage invoices show` and `lettrage payments show`: what became of one, from the database."""

from typing import NamedTuple

import click

from schemas.views import HistoryItem, InvoiceView, PaymentView
from worker.commands.exits import NotFound
from worker.commands.help import Command
from worker.commands.installation import reading
from worker.commands.output import as_json, euros, print_fields, print_json, print_table, text
from worker.store.views import Views


class _Whole(NamedTuple):
    """An invoice and the changes of its state, oldest first."""

    invoice: InvoiceView
    history: list[HistoryItem]


@click.group()
def invoices() -> None:
    """Look at an invoice, as the database has it now."""


@invoices.command(
    "show",
    short_help="What an invoice is, and how it came to be so.",
    cls=Command,
    examples=(
        "lettrage invoices show enfance F2026-0042",
        "lettrage invoices show enfance F2026-0042 --json | jq .state",
    ),
)
@click.argument("regie")
@click.argument("number")
@as_json
def show_invoice(regie: str, number: str, *, as_json: bool) -> None:
    """Show the invoice NUMBER of the régie with the code REGIE: its state, its payments, its history.

    Exit code 3 when there is no such invoice.
    """

    async def ask(views: Views) -> _Whole | None:
        invoice = await views.invoice(regie, number)
        return None if invoice is None else _Whole(invoice, await views.history(regie, number) or [])

    found = reading(ask)
    if found is None:
        raise NotFound(f"The régie {regie!r} has no invoice {number!r}.")
    if as_json:
        print_json({**_fields(found.invoice), "history": found.history})
    else:
        _print_invoice(*found)


@click.group()
def payments() -> None:
    """Look at a payment, as the database has it now."""


@payments.command(
    "show",
    short_help="What a payment is, and what it pays.",
    cls=Command,
    examples=(
        "lettrage payments show enfance P-2026-0001",
        "lettrage payments show enfance P-2026-0001 --json | jq .state",
    ),
)
@click.argument("regie")
@click.argument("reference")
@as_json
def show_payment(regie: str, reference: str, *, as_json: bool) -> None:
    """Show the payment REFERENCE of the régie with the code REGIE: its state, its money, its invoices.

    Exit code 3 when there is no such payment.
    """
    payment = reading(lambda views: views.payment(regie, reference))
    if payment is None:
        raise NotFound(f"The régie {regie!r} has no payment {reference!r}.")
    if as_json:
        print_json(payment)
    else:
        _print_payment(payment)


def _fields(view: InvoiceView | PaymentView) -> dict[str, object]:
    return {name: getattr(view, name) for name in view.__struct_fields__}


def _print_invoice(invoice: InvoiceView, history: list[HistoryItem]) -> None:
    fields = _fields(invoice) | {"amount": euros(invoice.amount_cents)}
    del fields["payments"], fields["amount_cents"]
    print_fields(fields.items())
    if invoice.payments:
        click.echo()
        rows = [(each.reference, each.state, euros(each.amount_cents)) for each in invoice.payments]
        print_table(("payment", "state", "amount"), rows)
    if history:
        click.echo()
        changes = [(text(i.at), i.before, i.after, i.reason, i.payment, i.event_type, i.event_id) for i in history]
        print_table(("at", "from", "to", "reason", "payment", "event", "id"), changes)


def _print_payment(payment: PaymentView) -> None:
    amounts = {"amount": euros(payment.amount_cents), "received": euros(payment.received_cents)}
    fields = _fields(payment) | amounts | {"gateway_references": ", ".join(payment.gateway_references)}
    del fields["invoices"], fields["amount_cents"], fields["received_cents"]
    print_fields(fields.items())
    click.echo()
    print_table(("invoice", "amount"), [(line.number, euros(line.amount_cents)) for line in payment.invoices])
