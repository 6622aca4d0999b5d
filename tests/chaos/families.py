"""Families of two régies, through portals that never give up: an event is sent until it is acknowledged."""

import asyncio
import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.api import event
from tests.chaos.installation import HOLD_SECONDS, REGIES, TOKEN

CENTS: Final = (450, 900, 1200)
TROUBLE: Final = {429, 503}
"""Answers that mean: later. Any other one but success is nobody's to get; after a 5xx the portal tries again."""
AGAIN_SECONDS: Final = 0.2
"""Between two tries of a portal."""
ANSWER_SECONDS: Final = ClientTimeout(total=15)


class Portals:
    """Sends events and callbacks to one web process or another, and remembers what was acknowledged."""

    def __init__(self, http: ClientSession, addresses: Sequence[str], random: Random) -> None:
        self._http = http
        self._addresses = addresses
        self.random = random
        self.acknowledged: dict[str, str] = {}
        """Ids of events that were answered with 2xx, and their types."""
        self.callbacks: set[str] = set()
        """Queries of callbacks that were answered with 200."""
        self.counts: Counter[str] = Counter()
        self.refusals: list[str] = []
        """Answers that nobody should have got."""
        self.open = True
        self._numbers = iter(range(1_000_000_000))

    def name(self, prefix: str) -> str:
        """A new number or reference."""
        return f"{prefix}-{next(self._numbers)}"

    async def tell(self, kind: str, data: Mapping[str, Any], *, wait: bool = False) -> None:
        """Post an event until it is acknowledged; now and then once more."""
        sent = event(kind, data, self.name(kind))
        headers = {"Prefer": "wait=2"} if wait else {}
        await self._post(sent, headers)
        self.acknowledged[sent["id"]] = sent["type"]
        if self.random.random() < 0.05:
            self.counts["sent again"] += 1
            answer = await self._post(sent, {})
            if answer.get("status", "duplicate") != "duplicate":
                self.refusals.append(f"an event sent again was {answer}")

    async def _post(self, sent: Mapping[str, Any], headers: Mapping[str, str]) -> Any:  # noqa: ANN401 (any JSON)
        answer = await self._until_answered("POST", "/v1/events", sent, headers)
        return msgspec.json.decode(answer)

    async def tell_together(self, *facts: tuple[str, Mapping[str, Any]]) -> None:
        """Post a batch until it is acknowledged."""
        sent = [event(kind, data, self.name(kind)) for kind, data in facts]
        batch = {"Content-Type": "application/cloudevents-batch+json"}
        answer = await self._until_answered("POST", "/v1/events", sent, batch)
        for one, result in zip(sent, msgspec.json.decode(answer)["results"], strict=True):
            if result["status"] not in {"accepted", "duplicate"}:
                self.refusals.append(f"{one['id']}: {result}")
            self.acknowledged[one["id"]] = one["type"]

    async def call_back(self, regie: str, reference: str, *, paid: bool) -> None:
        """A gateway calls, and tries again until it hears its answer."""
        said = {"transaction_id": reference, "signed": "1", "amount": "1", "nonce": self.name("call")}
        query = urlencode(said | ({"ok": "1"} if paid else {"nok": "1"}))
        if self.random.random() < 0.3:  # the portal received it
            data = {"regie": regie, "method": "GET", "query": query, "body": base64.b64encode(b"").decode()}
            await self.tell("gateway.callback", data)
        else:
            await self._until_answered("GET", f"/v1/callbacks/{regie}?{query}", None, {})
        self.callbacks.add(query)

    async def _until_answered(self, method: str, path: str, body: object, headers: Mapping[str, str]) -> bytes:
        """Send until there is an answer that is not the server's own trouble."""
        authorised = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents+json", **headers}
        content = None if body is None else msgspec.json.encode(body)
        while True:
            self.counts["requests"] += 1
            try:
                async with self._http.request(
                    method,
                    self.random.choice(self._addresses) + path,
                    data=content,
                    headers=authorised,
                    timeout=ANSWER_SECONDS,
                ) as response:
                    answer = await response.read()
                    if response.ok:
                        return answer
                    self.counts[f"answers {response.status}"] += 1
                    if response.status not in TROUBLE:
                        self.refusals.append(f"{path}: {response.status} {answer!r}")
                    if response.status < 500 and response.status not in TROUBLE:
                        return b"{}"
            except (ClientError, OSError, TimeoutError) as error:
                self.counts[type(error).__name__] += 1
            await asyncio.sleep(AGAIN_SECONDS)


async def live(portals: Portals, families: int) -> None:
    """So many families at a time, one after the other, while the portals are open."""

    async def street() -> None:
        while portals.open:
            await family(portals)
            portals.counts["families"] += 1

    async with asyncio.TaskGroup() as streets:
        for _ in range(families):
            streets.create_task(street())


async def family(portals: Portals) -> None:
    """A few invoices, an attempt or two to pay them, and what else happens to them."""
    random = portals.random
    regie = random.choice(REGIES)
    lines = {portals.name("F"): random.choice(CENTS) for _ in range(random.choice((1, 1, 2, 3)))}
    await invoices(portals, regie, lines)
    async with asyncio.TaskGroup() as attempts:
        for _ in range(random.choice((1, 1, 2))):
            attempts.create_task(attempt(portals, regie, lines))
        if random.random() < 0.15:
            attempts.create_task(afterthought(portals, regie, *random.choice(list(lines.items()))))


async def invoices(portals: Portals, regie: str, lines: Mapping[str, int]) -> None:
    """Issued one by one or together; sometimes not at all before they are paid."""
    issued = [
        ("invoice.issued", {"regie": regie, "number": number, "account": "DUPONT", "amount_cents": cents})
        for number, cents in lines.items()
    ]
    if portals.random.random() < 0.5:
        await portals.tell_together(*issued)
    elif portals.random.random() < 0.8:
        for kind, data in issued:
            await portals.tell(kind, data)


async def attempt(portals: Portals, regie: str, lines: Mapping[str, int]) -> None:
    """Pay some of the invoices: by one window or two, at once, late, or never."""
    random = portals.random
    await asyncio.sleep(random.uniform(0, HOLD_SECONDS * 1.2))
    chosen = dict(random.sample(sorted(lines.items()), random.randint(1, len(lines))))
    reference = portals.name("P")
    data = {
        "regie": regie,
        "reference": reference,
        "amount_cents": sum(chosen.values()),
        "invoices": [{"number": number, "amount_cents": cents} for number, cents in chosen.items()],
    }
    windows = [reference, f"{reference}-again"][: random.choice((1, 1, 1, 2))]
    if random.random() < 0.1:  # the gateway is quicker than the portal
        await portals.call_back(regie, windows[0], paid=True)
    for window in windows:
        await portals.tell("payment.started", data | {"gateway_reference": window}, wait=random.random() < 0.3)
    for window in windows:
        await visit(portals, regie, window)
    if random.random() < 0.15:
        correction = {"regie": regie, "reference": reference, "amount_cents": random.choice((100, *chosen.values()))}
        await portals.tell(random.choice(("payment.refunded", "payment.reversed")), correction)


async def visit(portals: Portals, regie: str, window: str) -> None:
    """At the gateway's page: paid, refused, refused and then paid, or the window is closed."""
    random = portals.random
    results = random.choice(((True,), (True,), (True,), (False,), (False, True), ()))
    for paid in results:
        await asyncio.sleep(random.choice((0, random.uniform(0, 1), random.uniform(0, HOLD_SECONDS * 1.5))))
        for _ in range(random.choice((1, 1, 2, 3))):
            await portals.call_back(regie, window, paid=paid)


async def afterthought(portals: Portals, regie: str, number: str, cents: int) -> None:
    """Something else happens to an invoice meanwhile."""
    await asyncio.sleep(portals.random.uniform(0, HOLD_SECONDS))
    about = {"regie": regie, "number": number}
    kind, data = portals.random.choice(
        (
            ("invoice.settled", about | {"amount_cents": cents, "means": "cash"}),
            ("invoice.withdrawn", about),
            ("invoice.issued", about | {"account": "DUPONT", "amount_cents": cents + 100}),
        )
    )
    await portals.tell(kind, data)
