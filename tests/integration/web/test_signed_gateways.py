"""The signed gateways end to end, over HTTP, on one installation: a proof pays its invoice, a forgery pays nothing.

Every régie releases its holds on a proven cancel or refusal, so that a forgery that was believed would show.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from yarl import URL

from schemas.records import Policy
from tests.api import Api, bearer, composed, served, settings, started
from tests.conftest import database
from tests.unit.gateways import lyra_answers, ogone_answers, paybox_answers, sips2_answers
from worker.gateways.port import GatewayConfig
from worker.settings import Client, Regie, Settings

NUMBERS: Final = count(1)
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
Fields = dict[str, str]
Forge = Callable[[Fields], bytes]


@dataclass(frozen=True)
class Gateway:
    """One kind: its régie, a genuine answer about a reference, and what may be done to it."""

    config: GatewayConfig
    genuine: Callable[[str], Fields]
    sign: Forge
    refused: Fields
    forgeries: Mapping[str, tuple[str, Forge]] = field(default_factory=dict)
    """By name: what the discrepancy says, and the answer. `test_answer` is shown as a test payment."""
    method: str = "POST"


def _flipped(body: bytes, after: bytes) -> bytes:
    """One bit of the byte after that text."""
    place = body.index(after) + len(after)
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def _lyra() -> Gateway:
    sign, other = lyra_answers.signed, lyra_answers.sha1_signature
    config = lyra_answers.regie()
    return Gateway(
        config=GatewayConfig(regie="payzen", kind="payzen", mode="production", options=config.options),
        genuine=lambda reference: {**lyra_answers.PAID, "vads_ext_info_eopayment_trans_id": reference},
        sign=sign,
        refused={"vads_trans_status": "REFUSED", "vads_result": "05"},
        forgeries={
            "one byte changed": ("signature_invalid", lambda paid: _flipped(sign(paid), b"vads_amount=")),
            "another régie's key": ("signature_invalid", lambda paid: sign(paid, "autreregie")),
            "another merchant": ("wrong_merchant", lambda paid: sign({**paid, "vads_site_id": "87654321"})),
            "another currency": ("wrong_currency", lambda paid: sign({**paid, "vads_currency": "840"})),
            "a credit": ("operation_credit", lambda paid: sign({**paid, "vads_operation_type": "CREDIT"})),
            "a field appended": ("field_not_signed", lambda paid: sign(paid) + b"&x=1"),
            "a field repeated": ("field_not_signed", lambda paid: sign(paid) + b"&vads_amount=1"),
            "a test": ("test_answer", lambda paid: sign({**paid, "vads_ctx_mode": "TEST"}, lyra_answers.TEST_KEY)),
            "a badly spelt test": ("test_answer", lambda paid: sign({**paid, "vads_ctx_mode": "test"}, sign=other)),
            "no signature": ("field_missing", lambda paid: urlencode(paid).encode()),
        },
    )


def _paybox() -> Gateway:
    sign = paybox_answers.signed
    unnamed = ("site", "rang")
    return Gateway(
        config=paybox_answers.regie(),
        genuine=lambda reference: {**paybox_answers.PAID, "reference": reference},
        sign=sign,
        refused={"erreur": "00105"},
        method="GET",
        forgeries={
            "one byte changed": ("signature_invalid", lambda paid: _flipped(sign(paid), b"montant=")),
            "another key": ("signature_invalid", lambda paid: sign(paid, "stranger")),
            "another site": ("wrong_merchant", lambda paid: sign({**paid, "site": "7654321"})),
            "another rang": ("wrong_merchant", lambda paid: sign({**paid, "rang": "002"})),
            "no merchant": ("field_missing", lambda paid: sign({k: v for k, v in paid.items() if k not in unnamed})),
            "a field appended": ("field_not_signed", lambda paid: sign(paid) + b"&x=1"),
            "a field repeated": ("field_not_signed", lambda paid: b"montant=1&" + sign(paid)),
            "a test": ("test_answer", lambda paid: sign({**paid, "code_autorisation": "XXXXXX"})),
            "no signature": ("signature_missing", paybox_answers.query_of),
        },
    )


def _sips2() -> Gateway:
    sign = sips2_answers.signed
    simulated = {"merchantId": sips2_answers.SIMULATED}
    return Gateway(
        config=sips2_answers.regie(),
        genuine=lambda reference: {**sips2_answers.PAID, "transactionReference": reference},
        sign=sign,
        refused={"responseCode": "05"},
        forgeries={
            "one byte changed": ("signature_invalid", lambda paid: _flipped(sign(paid), b"amount%3D")),
            "another régie's key": ("signature_invalid", lambda paid: sign(paid, "autreregie")),
            "the public key": ("signature_invalid", lambda paid: sign(paid, sips2_answers.SIMULATED_KEY)),
            "another merchant": ("wrong_merchant", lambda paid: sign({**paid, "merchantId": "211000021310002"})),
            "another currency": ("wrong_currency", lambda paid: sign({**paid, "currencyCode": "840"})),
            "a field appended": ("field_not_signed", lambda paid: sign(paid) + b"&x=1"),
            "a field repeated": ("field_not_signed", lambda paid: sign(paid) + b"&Data=x"),
            "a value that is a field": (
                "answer_contradicts_itself",
                lambda paid: sign({**paid, "responseCode": "05", "customerId": "x|responseCode=00"}),
            ),
            "a test": ("test_answer", lambda paid: sign({**paid, **simulated}, sips2_answers.SIMULATED_KEY)),
            "no seal": ("signature_missing", lambda paid: sips2_answers.posted(sips2_answers.data_of(paid), "")),
        },
    )


def _ogone() -> Gateway:
    sign = ogone_answers.signed
    return Gateway(
        config=ogone_answers.regie(),
        genuine=lambda reference: {**ogone_answers.PAID, "COMPLUS": reference, "PAYID": f"30{next(NUMBERS)}"},
        sign=sign,
        refused={"STATUS": "2"},
        forgeries={
            "one byte changed": ("signature_invalid", lambda paid: _flipped(sign(paid), b"amount=")),
            "another régie's key": ("signature_invalid", lambda paid: sign(paid, "autreregie")),
            "another merchant's name": ("field_not_signed", lambda paid: sign(paid) + b"&PSPID=OTHER"),
            "another currency": ("wrong_currency", lambda paid: sign({**paid, "currency": "USD"})),
            "a credit": ("operation_credit", lambda paid: sign({**paid, "STATUS": "8"})),
            "a field appended": ("field_not_signed", lambda paid: sign(paid) + b"&x=1"),
            "a field repeated": ("field_not_signed", lambda paid: sign(paid) + b"&AMOUNT=1"),
            "half a cent": ("amount_unreadable", lambda paid: sign({**paid, "amount": "42.505"})),
            "no signature": ("signature_missing", lambda paid: urlencode(paid).encode()),
        },
    )


GATEWAYS: Final = {gateway.config.kind: gateway for gateway in (_lyra(), _paybox(), _sips2(), _ogone())}
FORGED: Final = [(kind, name) for kind, gateway in GATEWAYS.items() for name in gateway.forgeries]
pytestmark = pytest.mark.asyncio(loop_scope="module")


def _configured(database_url: str) -> Settings:
    """A régie of each kind, all in production, and a client that may do everything with them."""
    regies = {
        kind: Regie(
            code=kind,
            policy=Policy(label=f"Régie {kind}", gateway=kind, mode="production", on_cancel="release"),
            options=gateway.config.options,
        )
        for kind, gateway in GATEWAYS.items()
    }
    plain = settings(database_url)
    everywhere = Client(name="portail", scopes=frozenset({"events", "read"}), regies=frozenset({"*"}))
    clients = {token: everywhere if client.name == "portail" else client for token, client in plain.clients.items()}
    return Settings(database_url=database_url, clients=clients, regies=regies)


@pytest.fixture(scope="module")
def shared_database(postgres: str, template: str) -> Iterator[str]:
    """One database for all of this file."""
    with database(postgres, template) as address:
        yield address


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(shared_database: str) -> AsyncIterator[Api]:
    """One installation for all of this file: each test has a payment of its own."""
    async with composed(shared_database, _configured(shared_database)) as app, served(app) as client:
        yield client


@dataclass
class Payment:
    """A payment that was started, with its invoice."""

    api: Api
    gateway: Gateway
    reference: str

    @property
    def regie(self) -> str:
        """The kind's own."""
        return self.gateway.config.kind

    @property
    def paid(self) -> Fields:
        """What its gateway says when it is paid in full."""
        return self.gateway.genuine(self.reference)

    async def notify(self, answer: bytes) -> int:
        """The callback, and a worker's work."""
        address = f"{self.api.address}/v1/callbacks/{self.regie}"
        if self.gateway.method == "GET":
            sent_as_it_is = URL(f"{address}?{answer.decode()}", encoded=True)  # what is signed is the text itself
            response = await self.api.http.get(sent_as_it_is)
        else:
            response = await self.api.http.post(address, data=answer, headers=FORM)
        await self.api.app.reconcile()
        return response.status

    async def read(self, path: str) -> Any:  # noqa: ANN401 (JSON)
        """Something of its régie."""
        response = await self.api.http.get(
            f"{self.api.address}/v1/regies/{self.regie}/{path}", headers=bearer("portail")
        )
        assert response.status == 200
        return await response.json()

    async def states(self) -> tuple[str, str, int]:
        """The payment's, the invoice's, and the cents received."""
        payment = await self.read(f"payments/{self.reference}")
        invoice = await self.read(f"invoices/F-{self.reference}")
        return payment["state"], invoice["state"], payment["received_cents"]

    async def discrepancies(self) -> list[tuple[str, str | None]]:
        """Kind and why of those about this payment."""
        found = (await self.read("discrepancies?state=open"))["items"]
        return [(item["kind"], item["detail"].get("why")) for item in found if item["payment"] == self.reference]


async def start(api: Api, kind: str) -> Payment:
    """A payment of 42.50 € for one invoice, which holds it."""
    payment = Payment(api, GATEWAYS[kind], f"P-{next(NUMBERS)}")
    lines = {f"F-{payment.reference}": 4250}
    response = await api.post(started(payment.reference, lines=lines, regie=kind))
    assert response.status == 202
    await api.app.reconcile()
    assert await payment.states() == ("started", "in_payment", 0)
    return payment


@pytest.mark.parametrize("kind", GATEWAYS)
async def test_a_genuine_answer_pays_its_invoice(api: Api, kind: str) -> None:
    """Once, however often it comes."""
    payment = await start(api, kind)
    answer = payment.gateway.sign(payment.paid)
    for _ in range(2):
        assert await payment.notify(answer) == 200
    assert await payment.states() == ("paid", "paid", 4250)
    assert await payment.discrepancies() == []


@pytest.mark.parametrize("kind", GATEWAYS)
async def test_a_genuine_refusal_releases_its_invoice(api: Api, kind: str) -> None:
    """At once, as the régie chose: so a forged one would, were it believed."""
    payment = await start(api, kind)
    assert await payment.notify(payment.gateway.sign({**payment.paid, **payment.gateway.refused})) == 200
    assert await payment.states() == ("refused", "payable", 0)


@pytest.mark.parametrize(("kind", "name"), FORGED)
async def test_a_forgery_settles_nothing_and_is_shown(api: Api, kind: str, name: str) -> None:
    """Paid or refused, it changes neither payment nor invoice; a discrepancy says what is wrong with it."""
    payment = await start(api, kind)
    why, forge = payment.gateway.forgeries[name]
    assert await payment.notify(forge(payment.paid)) == 200
    assert await payment.states() == ("started", "in_payment", 0)
    shown = "test_payment" if why == "test_answer" else "unverified_callback"
    assert await payment.discrepancies() == [(shown, why)]
    assert await payment.notify(forge({**payment.paid, **payment.gateway.refused})) == 200
    assert await payment.states() == ("started", "in_payment", 0)
    assert await payment.notify(payment.gateway.sign(payment.paid)) == 200
    assert await payment.states() == ("paid", "paid", 4250)


LOWER: Final = {"payzen": "vads_amount", "paybox": "montant", "sips2": "amount", "ogone": "amount"}


@pytest.mark.parametrize("kind", GATEWAYS)
async def test_a_lower_amount_counts_with_its_cents(api: Api, kind: str) -> None:
    """It came, it pays nothing, all of it is to give back."""
    payment = await start(api, kind)
    lower = {**payment.paid, LOWER[kind]: "1.25" if kind == "ogone" else "125"}
    assert await payment.notify(payment.gateway.sign(lower)) == 200
    assert (await payment.states())[2] == 125
    assert (await payment.discrepancies())[0][0] == "underpaid"


@pytest.mark.parametrize("answer", [b"", b"%00%ff", b"a=1&" * 500, b"signature=%ff&Seal=%ff&SHASIGN=%ff"])
@pytest.mark.parametrize("kind", GATEWAYS)
async def test_garbage_is_kept_and_changes_nothing(api: Api, kind: str, answer: bytes) -> None:
    """Whatever it is; the gateway, if it was one, hears that it arrived."""
    payment = await start(api, kind)
    assert await payment.notify(answer) == 200
    assert await payment.states() == ("started", "in_payment", 0)
