"""The example clients, one per language, driven in the same way against a whole Lettrage that notifies a portal."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from schemas.records import InvoiceState
from tests.clients import PROGRAMS, Client, Ear, Line, Notification, Program, bad_line, compile_java, listening
from tests.installation import CLIENT, TOKEN, Installation, until
from worker.conformance.samples import Samples
from worker.portals.signing import signed_headers

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NEXT = "whsec_" + base64.b64encode(bytes(range(100, 132))).decode()
OTHER = "whsec_" + base64.b64encode(b"another portal's secret, of 32 b").decode()
NAMES = [program.name for program in PROGRAMS]


@dataclass
class Town:
    """A running Lettrage, and the portal that it notifies."""

    installation: Installation
    ear: Ear

    @property
    def port(self) -> int:
        """Where its API is."""
        return self.installation.port

    def read(self, path: str) -> Any:  # noqa: ANN401 (any JSON)
        """What the API answers to a reader."""
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 (our own)
            return json.load(answer)

    def issue(self, account: str, numbers: list[str], means: str | None = None) -> None:
        """Issue invoices of a family, 10 EUR each, and wait until they are applied."""
        events = [
            {
                "specversion": "1.0",
                "type": "fr.lettrage.invoice.issued.v1",
                "source": "/facturation",
                "id": f"issued-{number}",
                "data": {"regie": "enfance", "number": number, "account": account, "amount_cents": 1000}
                | ({"means": means} if means else {}),
            }
            for number in numbers
        ]
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v1/events",
            json.dumps(events).encode(),
            {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/cloudevents-batch+json"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 (our own)
            assert {result["status"] for result in json.load(answer)["results"]} == {"accepted"}
        until(lambda: self.knows(numbers[-1]))  # a batch is applied in its order

    def knows(self, number: str) -> bool:
        """Whether an invoice was taken in."""
        try:
            return bool(self.read(f"/v1/regies/enfance/invoices/{urllib.parse.quote(number, safe='')}"))
        except urllib.error.HTTPError:
            return False

    def payment(self, reference: str) -> Any:  # noqa: ANN401 (any JSON)
        """A payment as read."""
        return self.read(f"/v1/regies/enfance/payments/{reference}")

    def told(self, number: str) -> list[Notification]:
        """The notifications about an invoice, in the order heard."""
        return [each for each in self.ear.heard if json.loads(each.body)["data"].get("number") == number]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """`lettrage up` with a portal to tell, which knows it by either of two secrets."""
    with listening() as ear:
        installation = Installation(
            tmp_path_factory.mktemp("town"), DATABASE_URL="", REDIS_URL="", SECRET=SECRET, NEXT=NEXT
        )
        installation.configure(
            f"""
[[regie]]
code = "enfance"
gateway = "dummy"
mode = "test"
hold = "10m"
[regie.portal]
url = "{ear.url}/lettrage"
secret = "env:SECRET"
next_secret = "env:NEXT"
private = true
{CLIENT}"""
        )
        installation.start("up")
        try:
            until(installation.is_ready)
            yield Town(installation, ear)
        finally:
            installation.end()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Java's client is, compiled, if this machine has a compiler."""
    folder = tmp_path_factory.mktemp("java")
    if not PROGRAMS[-1].missing:
        compile_java(folder)
    return folder


def client_of(program: Program, town: Town, compiled: Path) -> Client:
    """A client with the environment of a portal."""
    url = f"http://127.0.0.1:{town.port}"
    environ = {"LETTRAGE_URL": url, "LETTRAGE_TOKEN": TOKEN, "PORTAL_WEBHOOK_SECRET": SECRET}
    return Client(program, environ, compiled)


@pytest.fixture(params=PROGRAMS, ids=NAMES)
def client(request: pytest.FixtureRequest, town: Town, compiled: Path) -> Client:
    """Each client whose language this machine speaks."""
    program: Program = request.param
    if program.missing:
        pytest.skip(f"no {', '.join(program.missing)} here")
    return client_of(program, town, compiled)


def paid(client: Client, town: Town, number: str) -> list[Notification]:
    """Issue an invoice, pay it with the client alone, and answer what the portal was told about it."""
    town.issue(f"{number}-family", [number])
    assert client.rows("pay", "enfance", f"P-{number}", f"{number}=1000")[0][0] == "started"
    assert client.rows("forward", "enfance", "GET", f"transaction_id=P-{number}&ok=1&signed=1")[0][0] == "applied"
    until(lambda: len(town.told(number)) >= 3)
    return town.told(number)


def test_the_tabs_are_read_whole(client: Client, town: Town) -> None:
    """Every invoice of a family under its tab, over several pages, whatever is in its name; and of no other family."""
    name = client.program.name
    account = f"{name} & fils/é+%20"
    numbers = [f"T/{name} {n}" for n in range(120)]
    town.issue(account, numbers)
    town.issue(account, [f"{name}-debit"], means="direct_debit")
    assert client.rows("pay", "enfance", f"P-tabs-{name}", f"{numbers[7]}=1000")[0][0] == "started"
    again = town.payment(f"P-tabs-{name}")["payable_again_at"]

    rows = client.rows("tabs", "enfance", account)

    payable = [row for row in rows if row[0] == "payable"]
    assert sorted(row[1] for row in payable) == sorted(set(numbers) - {numbers[7]})
    assert {tuple(row[2:]) for row in payable} == {("1000", "payable", "-")}
    assert rows[119:] == [
        ["history", numbers[7], "1000", "in_payment", again],
        ["direct_debit", f"{name}-debit", "1000", "payable", "-"],
    ]
    assert client.rows("tabs", "enfance", f"{account}2") == []


def test_a_payment_of_two_invoices_is_started_once(client: Client, town: Town) -> None:
    """The second click is the same payment; the other parent is told when to try again, and not sent anywhere."""
    name = client.program.name
    town.issue(f"{name}-family", [f"{name}-1", f"{name}=2"])
    reference = f"P-{name}"
    typed = ("pay", "enfance", reference, f"{name}-1=1000", f"{name}=2=1000")

    assert client.rows(*typed) == client.rows(*typed)

    payment = town.payment(reference)
    assert (payment["state"], payment["amount_cents"]) == ("started", 2000)
    assert [line["number"] for line in payment["invoices"]] == [f"{name}-1", f"{name}=2"]
    code, out, err = client.run("pay", "enfance", f"{reference}-other", f"{name}-1=1000")
    assert (code, out) == (1, f"rejected\t{payment['payable_again_at']}\n")
    assert "Do not send the family to the gateway" in err


def test_a_reference_of_another_payment_starts_nothing(client: Client, town: Town) -> None:
    """The same event with other content is a conflict; the family is not sent."""
    name = client.program.name
    town.issue(f"{name}-two", [f"{name}-3", f"{name}-4"])
    assert client.rows("pay", "enfance", f"P-{name}-3", f"{name}-3=1000")[0][0] == "started"

    code, out, err = client.run("pay", "enfance", f"P-{name}-3", f"{name}-4=1000")

    assert (code, out) == (1, "")
    assert "409" in err
    assert town.read(f"/v1/regies/enfance/invoices/{name}-4")["state"] == "payable"


def test_a_payment_is_started_once_on_a_bad_line(town: Town, compiled: Path) -> None:
    """No answer until the time-out, then 503: the same is sent again, and is a duplicate. All clients at once."""
    for client, line, code, out, err in on_bad_lines(town, compiled, ["hang", "503"]):
        assert (code, out[:8]) == (0, "started\t"), (client.program.name, err)
        assert line.statuses == [200, 200, 200], client.program.name
        assert town.payment(f"P-{client.program.name}-on-hang")["state"] == "started"


def test_who_never_gets_an_answer_says_so(town: Town, compiled: Path) -> None:
    """75, try again later, and nothing that looks like a start: the family is not sent to the gateway."""
    for client, line, code, out, err in on_bad_lines(town, compiled, ["drop"] * 9):
        assert (code, out) == (75, ""), client.program.name
        assert "try again later" in err, client.program.name
        assert len(line.statuses) == 3, client.program.name


def on_bad_lines(town: Town, compiled: Path, plan: list[str]) -> list[tuple[Client, Line, int, str, str]]:
    """How a payment's start ends on a line with that plan, of all clients at the same time."""
    with contextlib.ExitStack() as lines:
        started = []
        for program in PROGRAMS:
            if not program.missing:
                number = f"{program.name}-on-{plan[0]}"
                town.issue(number, [number])
                client, line = client_of(program, town, compiled), lines.enter_context(bad_line(town.port, plan))
                typed = ("pay", "enfance", f"P-{number}", f"{number}=1000")
                started.append((client, line, client.start(*typed, LETTRAGE_URL=line.url)))
        ended = [(client, line, process, process.communicate(timeout=100)) for client, line, process in started]
        return [
            (client, line, process.returncode, out.decode(), err.decode())
            for client, line, process, (out, err) in ended
        ]


def test_a_callback_is_passed_on_as_it_came(client: Client, town: Town) -> None:
    """By GET or POST, the payment is paid; what proves nothing pays nothing."""
    name = client.program.name
    numbers = [f"{name}-get", f"{name}-post", f"{name}-forged"]
    town.issue(f"{name}-callbacks", numbers)
    for number in numbers:
        assert client.rows("pay", "enfance", f"P-{number}", f"{number}=1000")[0][0] == "started"

    body = b"transaction_id=P-%s-post&ok=1&signed=1&label=\xe9\x00" % name.encode()
    passed = (
        client.rows("forward", "enfance", "GET", f"transaction_id=P-{name}-get&ok=1&signed=1&n=%22%5C"),
        client.rows("forward", "enfance", "POST", "", "Content-Type: application/x-www-form-urlencoded", stdin=body),
        client.rows("forward", "enfance", "GET", f"transaction_id=P-{name}-forged&ok=1"),
    )

    assert [rows[0][0] for rows in passed] == ["applied", "applied", "refused"]
    assert [town.payment(f"P-{number}")["state"] for number in numbers] == ["paid", "paid", "started"]
    listed = json.loads(town.installation.ask("events", "list", "--type", "gateway.callback", "--json").stdout)
    (stored,) = [event for event in listed if event["data"].get("body") == base64.b64encode(body).decode()]
    assert {name.lower(): value for name, value in stored["data"]["headers"].items()} == {
        "content-type": "application/x-www-form-urlencoded"
    }


def test_a_wrong_token_is_told(client: Client, town: Town) -> None:
    """Nothing is read or started, and the answer is said; the token is not."""
    town.issue(f"{client.program.name}-locked", [f"{client.program.name}-locked"])
    for typed in (
        ("tabs", "enfance", "x"),
        ("pay", "enfance", "P-locked", f"{client.program.name}-locked=1000"),
        ("forward", "enfance", "GET", "transaction_id=P&ok=1&signed=1"),
    ):
        code, out, err = client.run(*typed, LETTRAGE_TOKEN="lettrage_wrong")
        assert (code, out) == (1, "")
        assert "401" in err
        assert "lettrage_wrong" not in err
    assert town.read(f"/v1/regies/enfance/invoices/{client.program.name}-locked")["state"] == "payable"


def test_a_real_notification_is_believed_and_what_was_changed_is_not(client: Client, town: Town) -> None:
    """With either secret of a rotation, known first or second; never after a change of anything signed."""
    told = paid(client, town, f"{client.program.name}-told")[-1]
    Webhook(SECRET).verify(told.body, told.headers)
    for secrets in (f"{OTHER} {SECRET}", f"{NEXT} {OTHER}"):
        code, out, err = client.run("verify", stdin=told.raw(), PORTAL_WEBHOOK_SECRET=secrets)
        assert (code, out.encode(), err) == (0, told.body + b"\n", "")

    signature, following = told.headers["webhook-signature"].split(" ")
    known = told.raw(end="\n", webhook_signature=f"v2,x v1a,y {following} {signature}")
    assert client.run("verify", stdin=known)[0] == 0
    now = int(told.headers["webhook-timestamp"])
    refused = {
        "a changed body": told.raw(body=told.body.replace(b"paid", b"pail")),
        "another id": told.raw(webhook_id="msg_1_1"),
        "another time": told.raw(webhook_timestamp=str(now + 1)),
        "no time": told.raw(webhook_timestamp=None),
        "a time that is none": told.raw(webhook_timestamp=f"{now}x"),
        "no signature": told.raw(webhook_signature=None),
        "a piece of the signature": told.raw(webhook_signature=signature[:-3]),
        "a signature of another version": told.raw(webhook_signature=signature.replace("v1,", "v1a,")),
        "the following secret's alone": told.raw(webhook_signature=following),
    }
    for what, raw in refused.items():
        code, out, err = client.run("verify", stdin=raw)
        assert (code, out) == (1, ""), what
        assert err, what
    for age in (-600, 310):  # ahead by more than this test ever takes
        old = signed_headers([SECRET], told.headers["webhook-id"], int(time.time()) - age, told.body)
        assert client.run("verify", stdin=Notification(told.headers | old, told.body).raw())[:2] == (1, ""), age
    assert client.run("verify", stdin=told.raw(), PORTAL_WEBHOOK_SECRET=OTHER)[:2] == (1, "")


def test_the_highest_version_is_shown(client: Client, town: Town) -> None:
    """In any order and any number of times, beside discrepancies and other invoices, the invoice is paid."""
    number = f"{client.program.name}-shown"
    told = [each.body for each in paid(client, town, number)]
    assert [json.loads(body)["data"]["state"] for body in told] == ["payable", "in_payment", "paid"]
    town.issue("a double payment", [f"{number}-other"])
    until(lambda: town.told(f"{number}-other"))
    beside = [each.body for each in town.told(f"{number}-other")]
    beside.append(b'{"type":"discrepancy.opened","data":{"id":"7","kind":"missing","invoice":null,"payment":null}}')

    lines = [*told, *told, *beside]
    random.Random(client.program.name).shuffle(lines)

    assert client.rows("shown", "enfance", number, stdin=b"\n".join([*lines, b""])) == [["paid", "3"]]
    until_hold = b"\n".join([told[1], told[0], told[1], b""])
    assert client.rows("shown", "enfance", number, stdin=until_hold) == [["in_payment", "2"]]
    assert client.run("shown", "enfance", f"{number}-unknown", stdin=told[0] + b"\n")[0] == 3
    assert client.run("shown", "cantine", number, stdin=told[0] + b"\n")[0] == 3


def test_what_is_mistyped_is_told(client: Client) -> None:
    """The ways to type it, and exit code 2."""
    for typed in ((), ("tabs",), ("pay", "enfance", "P-1"), ("zzz", "enfance", "x")):
        code, out, err = client.run(*typed)
        assert (code, out) == (2, "")
        assert "tabs REGIE ACCOUNT" in err


def test_the_conformance_kits_samples_are_like_real_notifications(town: Town) -> None:
    """What `lettrage portal check` sends of an invoice has the fields, types and reasons that Lettrage sends."""
    town.issue("like-family", ["like-real"])
    until(lambda: town.told("like-real"))
    real = json.loads(town.told("like-real")[0].body)

    sample = json.loads(Samples("enfance", "like-real", "run", 1).invoice(InvoiceState.PAYABLE).body)

    assert sample.keys() == real.keys()
    assert sample["data"] | {"account": "like-family"} == real["data"]
    assert (sample["type"], len(sample["timestamp"])) == (real["type"], len(real["timestamp"]))
