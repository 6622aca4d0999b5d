"""The reading half of the API: states as read, by the database's clock. Source: the contract's "Reading"."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta

from schemas.records import DiscrepancyState
from schemas.views import DiscrepancyPage, History, InvoicePage, InvoiceView, PaymentView, RegieList, RegieView
from worker.settings import Client
from worker.store.views import MAX_LIMIT, CursorError, Views
from worker.web.access import caller, check_regie
from worker.web.answers import json_answer
from worker.web.contracts.describing import Answer, Operation, Parameter, choice
from worker.web.glances import Glances
from worker.web.problems import (
    INVALID_PARAMETER,
    INVOICE_NOT_FOUND,
    PAYMENT_NOT_FOUND,
    REGIE_FORBIDDEN,
    REGIE_NOT_FOUND,
    UNAVAILABLE,
    Kind,
    Refused,
)
from worker.web.regies import Regies

VIEWS: Final = ("payable", "history", "direct_debit")
DEFAULT_LIMIT: Final = 100
"""Items in a page when nobody says how many: more than a family has invoices."""
MAX_PARAMETER_CHARS: Final = 200
"""Numbers, references and accounts have at most 100; nothing longer is looked for."""


ParameterText = Annotated[str, Meta(max_length=MAX_PARAMETER_CHARS, pattern=r"^[^\x00]*\Z")]
"""What may stand for a parameter of the address."""
PAGE_PARAMETERS: Final = (
    Parameter(
        name="limit",
        shape=Annotated[int, Meta(ge=1, le=MAX_LIMIT, extra_json_schema={"default": DEFAULT_LIMIT})],
        about="Items in the page, at most.",
    ),
    Parameter(
        name="cursor",
        shape=ParameterText,
        about="The `next_cursor` of the page before, with the same other parameters.",
    ),
)

_REGIE: Final = Parameter(name="regie", shape=str, where="path", about="The régie's code.", example="enfance")
_NUMBER: Final = Parameter(name="number", shape=str, where="path", about="The invoice's number.", example="F-2026-0042")
_OF_REGIE: Final = (REGIE_FORBIDDEN, REGIE_NOT_FOUND, INVALID_PARAMETER, UNAVAILABLE)

OPERATIONS: Final = (
    Operation(
        method="GET",
        path="/v1/regies",
        name="listRegies",
        tag="Reading",
        summary="Every régie that the client may see, at a glance",
        scope="read",
        answers=(Answer(about="In the order of their codes", shape=RegieList),),
        problems=(INVALID_PARAMETER, UNAVAILABLE),
    ),
    Operation(
        method="GET",
        path="/v1/regies/{regie}",
        name="readRegie",
        tag="Reading",
        summary="One régie at a glance",
        scope="read",
        parameters=(_REGIE,),
        answers=(Answer(about="The régie", shape=RegieView),),
        problems=_OF_REGIE,
    ),
    Operation(
        method="GET",
        path="/v1/regies/{regie}/invoices",
        name="listInvoices",
        tag="Reading",
        summary="Some invoices of a régie, newest known first",
        about="A portal's tabs: `view=payable` of an account, `view=history`, `view=direct_debit`.",
        scope="read",
        parameters=(
            _REGIE,
            Parameter(name="account", shape=ParameterText, about="Those of one family alone.", example="D-1001"),
            Parameter(
                name="view",
                shape=choice(VIEWS),
                about=(
                    "`payable`: to be paid online. `history`: in payment or paid, of the last 24 months. "
                    "`direct_debit`: never payable online. Left out: all."
                ),
            ),
            *PAGE_PARAMETERS,
        ),
        answers=(Answer(about="A page of them", shape=InvoicePage),),
        problems=_OF_REGIE,
    ),
    Operation(
        method="GET",
        path="/v1/regies/{regie}/invoices/{number}",
        name="readInvoice",
        tag="Reading",
        summary="One invoice",
        scope="read",
        parameters=(_REGIE, _NUMBER),
        answers=(Answer(about="The invoice", shape=InvoiceView),),
        problems=(*_OF_REGIE, INVOICE_NOT_FOUND),
    ),
    Operation(
        method="GET",
        path="/v1/regies/{regie}/invoices/{number}/history",
        name="readHistory",
        tag="Reading",
        summary="How one invoice came to its state",
        scope="read",
        parameters=(_REGIE, _NUMBER),
        answers=(Answer(about="Its changes, oldest first", shape=History),),
        problems=(*_OF_REGIE, INVOICE_NOT_FOUND),
    ),
    Operation(
        method="GET",
        path="/v1/regies/{regie}/payments/{reference}",
        name="readPayment",
        tag="Reading",
        summary="One payment",
        scope="read",
        parameters=(
            _REGIE,
            Parameter(name="reference", shape=str, where="path", about="The payment's reference.", example="P-0002"),
        ),
        answers=(Answer(about="The payment", shape=PaymentView),),
        problems=(*_OF_REGIE, PAYMENT_NOT_FOUND),
    ),
    Operation(
        method="GET",
        path="/v1/regies/{regie}/discrepancies",
        name="listDiscrepancies",
        tag="Reading",
        summary="Some discrepancies of a régie, oldest first",
        scope="read",
        parameters=(
            _REGIE,
            Parameter(name="state", shape=choice(DiscrepancyState), about="Those in this state alone."),
            *PAGE_PARAMETERS,
        ),
        answers=(Answer(about="A page of them", shape=DiscrepancyPage),),
        problems=_OF_REGIE,
    ),
)


class Reading:
    """Answers what is asked about régies, invoices, payments and discrepancies."""

    def __init__(self, clients: Mapping[str, Client], regies: Regies, views: Views) -> None:
        self._clients = clients
        self._regies = regies
        self._views = views
        self._glances = Glances(views)

    def routes(self) -> list[web.RouteDef]:
        """Where each question is asked."""
        one = "/v1/regies/{regie}"
        return [
            web.get("/v1/regies", self.regies, allow_head=False),
            web.get(one, self.regie, allow_head=False),
            web.get(one + "/invoices", self.invoices, allow_head=False),
            web.get(one + "/invoices/{number}", self.invoice, allow_head=False),
            web.get(one + "/invoices/{number}/history", self.history, allow_head=False),
            web.get(one + "/payments/{reference}", self.payment, allow_head=False),
            web.get(one + "/discrepancies", self.discrepancies, allow_head=False),
        ]

    async def regies(self, request: web.Request) -> web.Response:
        """Every régie that the client may see, at a glance."""
        client = caller(request, self._clients, "read")
        parameters(request)
        codes = None if "*" in client.regies else sorted(client.regies)
        return json_answer(RegieList(items=await self._glances.regies(codes)))

    async def regie(self, request: web.Request) -> web.Response:
        """One régie at a glance."""
        code = await self._regie(request)
        parameters(request)
        found = await self._glances.regies([code])
        if not found:
            raise Refused(REGIE_NOT_FOUND.problem())
        return json_answer(found[0])

    async def invoices(self, request: web.Request) -> web.Response:
        """Some invoices of a régie, newest known first."""
        code = await self._regie(request)
        asked = parameters(request, "account", "view", "limit", "cursor")
        try:
            page = await self._views.invoices(
                code,
                view=one_of(asked, "view", VIEWS),
                account=asked.get("account"),
                limit=limit_of(asked),
                cursor=asked.get("cursor"),
            )
        except CursorError:
            raise not_a_cursor() from None
        return json_answer(page)

    async def invoice(self, request: web.Request) -> web.Response:
        """One invoice."""
        code = await self._regie(request)
        parameters(request)
        found = await self._views.invoice(code, _name(request, "number", INVOICE_NOT_FOUND))
        if found is None:
            raise Refused(INVOICE_NOT_FOUND.problem())
        return json_answer(found)

    async def history(self, request: web.Request) -> web.Response:
        """How one invoice came to its state, oldest change first."""
        code = await self._regie(request)
        parameters(request)
        found = await self._views.history(code, _name(request, "number", INVOICE_NOT_FOUND))
        if found is None:
            raise Refused(INVOICE_NOT_FOUND.problem())
        return json_answer(History(items=found))

    async def payment(self, request: web.Request) -> web.Response:
        """One payment."""
        code = await self._regie(request)
        parameters(request)
        found = await self._views.payment(code, _name(request, "reference", PAYMENT_NOT_FOUND))
        if found is None:
            raise Refused(PAYMENT_NOT_FOUND.problem())
        return json_answer(found)

    async def discrepancies(self, request: web.Request) -> web.Response:
        """Some discrepancies of a régie, oldest first."""
        code = await self._regie(request)
        asked = parameters(request, "state", "limit", "cursor")
        try:
            page = await self._views.discrepancies(
                code,
                state=one_of(asked, "state", [state.value for state in DiscrepancyState]),
                limit=limit_of(asked),
                cursor=asked.get("cursor"),
            )
        except CursorError:
            raise not_a_cursor() from None
        return json_answer(page)

    async def _regie(self, request: web.Request) -> str:
        """The régie that is asked about, if the client may see it and it exists."""
        client = caller(request, self._clients, "read")
        code = request.match_info["regie"]
        check_regie(client, code)
        if not _storable(code) or await self._regies.gateway(code) is None:
            raise Refused(REGIE_NOT_FOUND.problem())
        return code


def parameters(request: web.Request, *known: str) -> dict[str, str]:
    """The parameters of the address, each known and said once.

    Raises:
        Refused: 422; a misspelt filter must not answer with everything.
    """
    asked: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            allowed = f"known are {', '.join(known)}" if known else "there are none here"
            raise _wrong(name, f"is not known; {allowed}")
        if name in asked:
            raise _wrong(name, "is said twice")
        if len(value) > MAX_PARAMETER_CHARS or not _storable(value):
            raise _wrong(name, f"must be UTF-8 text of at most {MAX_PARAMETER_CHARS} characters, without NUL")
        asked[name] = value
    return asked


def one_of(asked: Mapping[str, str], name: str, allowed: Sequence[str]) -> str | None:
    """One of the allowed values; None when the parameter is left out. Raises Refused (422) for any other."""
    value = asked.get(name)
    if value is not None and value not in allowed:
        raise _wrong(name, f"must be one of {', '.join(allowed)}")
    return value


def limit_of(asked: Mapping[str, str]) -> int:
    """How many items a page may have. Raises Refused (422) for what is not such a number."""
    text = asked.get("limit", str(DEFAULT_LIMIT))
    limit = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= limit <= MAX_LIMIT:
        raise _wrong("limit", f"must be from 1 to {MAX_LIMIT}")
    return limit


def not_a_cursor() -> Refused:
    """What answers a cursor that no page gave."""
    return _wrong("cursor", "must be the next_cursor of a page of this same list")


def _wrong(name: str, detail: str) -> Refused:
    return Refused(INVALID_PARAMETER.problem(f"{name[:100]!r} {detail}"))


def _name(request: web.Request, part: str, kind: Kind) -> str:
    """A number or reference in the address; one that cannot be stored does not exist."""
    name = request.match_info[part]
    if len(name) > MAX_PARAMETER_CHARS or not _storable(name):
        raise Refused(kind.problem())
    return name


def _storable(text: str) -> bool:
    """Whether PostgreSQL's text could hold it: no NUL, no half of a surrogate pair."""
    return not any(character == "\x00" or "\ud800" <= character <= "\udfff" for character in text)
