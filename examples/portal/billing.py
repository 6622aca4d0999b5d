"""What a family owes and has paid, as Lettrage tells it at each look."""

import asyncio
import re
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from examples.portal import billing_pages
from examples.portal.billing_pages import Account, Choice
from examples.portal.families import Family
from examples.portal.lettrage import Lettrage, LettrageError
from examples.portal.memory import Memory
from examples.portal.visits import Visit, for_family, show

FILE_NAME = re.compile(r"[A-Za-z0-9-]{1,100}\.pdf")
INVALID = 422


class Billing:
    """The home page, the three tabs, and the invoices' documents."""

    def __init__(
        self,
        lettrage: Lettrage,
        memory: Memory,
        regies: Collection[str],
        *,
        is_told: bool,
        documents: Path | None,
    ) -> None:
        self._lettrage = lettrage
        self._memory = memory
        self._regies = regies
        self._is_told = is_told
        self._documents = documents

    def routes(self) -> list[web.RouteDef]:
        """Where each is looked at."""
        return [
            web.get("/", for_family(self.home)),
            web.get("/facturation", for_family(self.payable)),
            web.post("/facturation", for_family(self.add_up)),
            web.get("/facturation/historique", for_family(self.history)),
            web.get("/facturation/prelevements", for_family(self.direct_debits)),
            web.get("/documents/{regie}/{file}", for_family(self.document)),
        ]

    async def home(self, _request: web.Request, visit: Visit, family: Family) -> web.Response:
        """Show what waits, by régie; while Lettrage is away, what was last heard, where changes are told."""
        try:
            accounts = await self._accounts(family, "payable")
        except LettrageError as error:
            if not self._is_told:
                raise
            print(error, flush=True)
            return show(billing_pages.remembered_home_page(visit, self._remembered(family)))
        return show(billing_pages.home_page(visit, accounts))

    def _remembered(self, family: Family) -> list[Account]:
        return [
            Account({"code": code, "label": self._memory.label(code)}, self._memory.payable(code, family.account))
            for code in self._regies
        ]

    async def payable(self, request: web.Request, visit: Visit, family: Family) -> web.Response:
        """Show the tab Payer. With a single régie to pay there is nothing to choose."""
        return await self._payable(visit, family, request.query.get("regie"), Choice())

    async def add_up(self, request: web.Request, visit: Visit, family: Family) -> web.Response:
        """Show it again with the total of what is ticked, for browsers that cannot add up."""
        form = await request.post()
        choice = Choice(ticked=[str(number) for number in form.getall("facture", [])], seed=str(form.get("cle", "")))
        return await self._payable(visit, family, str(form.get("regie")), choice)

    async def ask_again(self, visit: Visit, family: Family, regie: str, choice: Choice) -> web.Response:
        """Show it again, with what was wrong."""
        answer = await self._payable(visit, family, regie, choice)
        answer.set_status(INVALID)
        return answer

    async def _payable(self, visit: Visit, family: Family, regie: str | None, choice: Choice) -> web.Response:
        accounts = await self._accounts(family, "payable")
        due = [account for account in accounts if account.invoices]
        wanted = [account for account in accounts if account.code == regie] or (due if len(due) == 1 else [])
        chosen = wanted[0] if wanted else None
        return show(billing_pages.payable_page(visit, accounts, chosen, choice))

    async def history(self, _request: web.Request, visit: Visit, family: Family) -> web.Response:
        """Show the tab Historique."""
        return show(billing_pages.history_page(visit, await self._accounts(family, "history"), datetime.now(UTC)))

    async def direct_debits(self, _request: web.Request, visit: Visit, family: Family) -> web.Response:
        """Show the tab Mes prélèvements."""
        return show(billing_pages.debits_page(visit, await self._accounts(family, "direct_debit"), datetime.now(UTC)))

    async def document(self, request: web.Request, _visit: Visit, family: Family) -> web.StreamResponse:
        """Give an invoice's document to the family that it is for."""
        regie, name = request.match_info["regie"], request.match_info["file"]
        if self._documents is None or regie not in self._regies or not FILE_NAME.fullmatch(name):
            raise web.HTTPNotFound
        invoice = await self._lettrage.invoice(regie, name.removesuffix(".pdf"))
        file = self._documents / regie / name
        if invoice is None or invoice["account"] != family.account or not file.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(file, headers={"Content-Type": "application/pdf"})

    async def _accounts(self, family: Family, view: str) -> list[Account]:
        return list(await asyncio.gather(*(self._account(code, family, view) for code in self._regies)))

    async def _account(self, code: str, family: Family, view: str) -> Account:
        regie, invoices = await asyncio.gather(
            self._lettrage.regie(code), self._lettrage.invoices(code, family.account, view)
        )
        self._memory.read(regie, invoices)
        return Account(regie, invoices)
