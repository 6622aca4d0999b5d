"""The contracts and the server say the same: routes, documents, examples, refusals, and anything that is sent."""

# ruff: noqa: ANN401 (events are any JSON)

from __future__ import annotations

import asyncio
import itertools
import json
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
import schemathesis
from aiohttp import hdrs
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from schemas.events import OURS, EventType
from schemas.notifications import NotificationType
from tests import conformance
from tests.api import TOKENS, Api, bearer, event, issued, started
from worker.web.contracts.examples import EVENTS
from worker.web.contracts.files import files, page
from worker.web.contracts.openapi import OPERATIONS
from worker.web.contracts.page import POLICY
from worker.web.problems import TOO_LARGE
from worker.web.server import create_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from worker.web.contracts.describing import Operation

EVENTS_BY_TYPE: Final = {EventType(example["type"]): example for example in EVENTS}
SENT: Final = "application/cloudevents+json"


async def test_every_route_is_described_and_every_description_is_a_route(api: Api) -> None:
    """Whoever adds a route adds its description beside it, in `OPERATIONS`."""
    application = create_app(api.app)
    routes = {
        (route.method, route.resource.canonical)
        for route in application.router.routes()
        if route.resource is not None and route.method != hdrs.METH_HEAD
    }
    assert routes == {(operation.method, operation.path) for operation in OPERATIONS}


async def test_documents_are_served_without_a_token_and_kept_by_caches(api: Api) -> None:
    """Byte for byte what is committed; with its ETag it is not sent again."""
    for path, body in {**files(), "docs": page()}.items():
        await _check_document(api, path, body)


async def _check_document(api: Api, path: str, body: bytes) -> None:
    whole = await api.http.get(f"{api.address}/{path}")
    assert (whole.status, await whole.read()) == (200, body)
    assert whole.headers["Cache-Control"] == "public, max-age=300"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    for known in (whole.headers["ETag"], f'"other", W/{whole.headers["ETag"]}', "*"):
        again = await api.http.get(f"{api.address}/{path}", headers={"If-None-Match": known})
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", whole.headers["ETag"])
    other = await api.http.get(f"{api.address}/{path}", headers={"If-None-Match": '"other"'})
    assert other.status == 200
    head = await api.http.head(f"{api.address}/{path}")
    assert (head.status, head.headers["ETag"]) == (200, whole.headers["ETag"])


async def test_the_page_runs_nothing(api: Api) -> None:
    """Its policy is sent with it."""
    response = await api.http.get(f"{api.address}/docs")
    assert (response.content_type, response.charset) == ("text/html", "utf-8")
    assert response.headers["Content-Security-Policy"] == POLICY


async def test_there_are_no_other_documents(api: Api) -> None:
    """404, a problem like any other."""
    for path in ("schemas/events/x.json", "schemas/notifications/x.json", "schemas/x.json", "docs/", "openapi.yaml"):
        response = await api.http.get(f"{api.address}/{path}")
        assert (response.status, (await response.json())["type"]) == (404, "urn:lettrage:problem:not-found")


async def test_every_example_of_an_event_is_taken(api: Api) -> None:
    """In structured mode, in a batch, in binary mode; those that only Lettrage writes from an archive."""
    for kind, example in EVENTS_BY_TYPE.items():
        if kind in OURS:
            answer = await api.http.post(f"{api.address}/v1/events?archive=true", **_structured(example, "admin"))
        else:
            answer = await api.post(example)
        assert (answer.status, (await answer.json())["status"]) == (202, "accepted"), kind
    outside = [example for kind, example in EVENTS_BY_TYPE.items() if kind not in OURS]
    results = (await (await api.batch(outside)).json())["results"]
    assert {result["status"] for result in results} == {"duplicate"}
    for example in outside:
        binary = {f"ce-{name}": example[name] for name in ("specversion", "id", "source", "type")} | bearer("portail")
        answer = await api.http.post(f"{api.address}/v1/events", json=example["data"], headers=binary)
        assert (answer.status, (await answer.json())["status"]) == (202, "duplicate")


async def test_the_examples_pay_the_invoice(api: Api) -> None:
    """They tell a story that Lettrage understands: issued, started, paid by the callback."""
    for kind in (EventType.INVOICE_ISSUED, EventType.PAYMENT_STARTED, EventType.GATEWAY_CALLBACK):
        await api.post(EVENTS_BY_TYPE[kind])
        await api.app.reconcile()
    read = await (await api.get("/v1/regies/enfance/invoices/F-2026-0042")).json()
    assert (read["state"], read["paid_by"]) == ("paid", "P-0002")


async def test_what_portals_are_told_is_as_its_schema_says(api: Api) -> None:
    """A notification of every type that Lettrage itself wrote."""
    policies = {code: msgspec.structs.replace(each, notify=True) for code, each in api.app.settings.policies.items()}
    await api.app.store.sync_policies(policies)
    callback = {"regie": "cantine", "method": "GET", "query": "transaction_id=P-1&ok=1&signed=1"}
    for sent in (
        issued(regie="cantine"),
        started(regie="cantine"),
        event("gateway.callback", callback, "called"),
        event("invoice.settled", {"means": "cash", "regie": "cantine", "number": "F-1", "amount_cents": 4250}, "cash"),
        event("payment.refunded", {"regie": "cantine", "reference": "P-1", "amount_cents": 4250}, "refunded"),
        issued("F-2", regie="cantine"),
        event("invoice.withdrawn", {"regie": "cantine", "number": "F-2"}, "withdrawn"),
        issued("F-3", regie="cantine"),
        started("P-3", lines={"F-3": 4250}, regie="cantine"),
    ):
        assert (await api.post(sent)).status == 202
        await api.app.reconcile()
    async with asyncio.timeout(20):
        while not await api.app.end_due_holds():  # noqa: ASYNC110 (the database's clock can only be asked)
            await asyncio.sleep(0.1)
    told = [_body(row) for row in await api.app.pool.fetch("SELECT type, at, data FROM outbox ORDER BY id")]
    for body in told:
        shape = "".join(part.title() for part in re.split(r"[._]", body["type"])) + "Notification"
        assert conformance.faults({"$ref": f"#/components/schemas/{shape}"}, body) == []
    assert {body["type"] for body in told} == set(NotificationType)


def _body(row: Any) -> dict[str, Any]:
    made = msgspec.json.encode({"type": row["type"], "timestamp": row["at"], "data": msgspec.Raw(row["data"].encode())})
    body: dict[str, Any] = json.loads(made)
    return body


def _structured(sent: Any, client: str) -> dict[str, Any]:
    return {"data": json.dumps(sent), "headers": {"Content-Type": SENT} | bearer(client)}


NEVER: Final = {"bad-request", "too-slow", "expectation-failed", "internal", "unavailable", "too-many-callbacks"}
"""Of a server's bad day, or of bytes that no client library sends: other tests meet them (test_connections.py,
test_callbacks_in.py, test_ingest.py)."""
ELSEWHERE: Final = {
    "callBackByGet": {"invalid-event"},  # what the database refuses: test_ingest.py
    "callBackByPost": {"invalid-event"},
    "readMetrics": {"unauthorized"},  # needs a token in the configuration: test_operations.py
    "listNotifications": {"regie-forbidden"},  # of an admin with some régies: test_notifications_admin.py
    "resendNotifications": {"regie-forbidden"},
    "replay": {"regie-forbidden"},  # of an admin with some régies: test_replays.py
    "resolveDiscrepancy": {  # needs discrepancies: test_resolving.py
        "regie-forbidden",
        "discrepancy-not-open",
        "resolution-not-applicable",
        "discrepancy-amount-changed",
    },
}
"""Met by other tests, because they need more than a request."""
BODIES: Final[dict[str, list[tuple[dict[str, str], bytes]]]] = {
    "/v1/events": [
        ({"Content-Type": SENT}, b"{"),
        ({"Content-Type": SENT}, b"{}"),
        ({"Content-Type": "text/plain"}, b"x"),
        ({"Content-Type": SENT}, b" " * 1_048_577),
        ({"Content-Type": "application/cloudevents-batch+json"}, b"[" + b"1," * 1000 + b"1]"),
        ({"Content-Type": SENT}, json.dumps(issued(number="")).encode()),
        ({"Content-Type": SENT}, json.dumps(issued()).encode()),
        ({"Content-Type": SENT}, json.dumps(issued(cents=1)).encode()),
        ({"Content-Type": SENT}, json.dumps(issued(regie="nowhere")).encode()),
    ],
    "/v1/callbacks/enfance": [({}, b" " * 65_537)],
    "/v1/admin/replays": [({}, b"{"), ({}, b"{}"), ({"Content-Encoding": "gzip"}, b"{}"), ({}, b" " * 1_048_577)],
}
ADMINISTERED: Final = [
    ({}, b"{"),
    ({}, b"{}"),
    ({"Content-Encoding": "gzip"}, b"{}"),
    ({}, b" " * 65_537),
    ({}, b'{"ids": ["1"]}'),
    ({}, b'{"resolution": "explained", "comment": "seen"}'),
]


async def test_every_refusal_that_is_described_is_met(api: Api) -> None:
    """Each type of problem of each operation, but those of a server's bad day, is answered to somebody."""
    await api.post(issued())
    for operation in OPERATIONS:
        met = {slug for path in _addresses(operation.path) async for slug in _refusals(api, operation.method, path)}
        described = {kind.slug for kind in operation.kinds} - NEVER - ELSEWHERE.get(operation.name, set())
        assert met - NEVER == described, operation.name


async def _refusals(api: Api, method: str, path: str) -> AsyncIterator[str]:
    """The types of problems that each client, or nobody, is answered for each body."""
    bodies = [({}, b""), *BODIES.get(path, ADMINISTERED if "/admin/" in path else [])]
    for client, (headers, body) in itertools.product((*TOKENS, None), bodies):
        sent = headers | (bearer(client) if client else {})
        answer = await api.http.request(method, f"{api.address}{path}", data=body or None, headers=sent)
        if answer.content_type == conformance.PROBLEM:
            yield (await answer.json())["type"].rpartition(":")[2]


def _addresses(template: str) -> list[str]:
    """Places that there are, that there are not, that are another's, and a parameter that nobody knows."""
    found = [
        template.replace("{regie}", regie).replace("{number}", "F-404").replace("{reference}", "P-404")
        for regie in ("enfance", "cantine", "nowhere")
    ]
    named = [each.replace("{id}", "0" * 32).replace("{type}", "x") for each in dict.fromkeys(found)]
    return [*named, f"{named[0]}?surprise=1", f"{named[0]}?archive=yes"]


FUZZED: Final = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
WITHOUT_TOKENS: Final = {
    path: {
        method: {name: each for name, each in operation.items() if name != "security"}
        for method, operation in at.items()
    }
    for path, at in conformance.document()["paths"].items()
}
"""Each request is sent with a token: one whose only fault would be to have none, has none."""
DESCRIPTION: Final = schemathesis.openapi.from_dict({**conformance.document(), "paths": WITHOUT_TOKENS})
JUDGED_ONE_BY_ONE: Final = "application/cloudevents-batch+json"
"""A batch is taken whatever is in it. What is too large is refused, which schemathesis does not take for a refusal."""


CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.mark.parametrize(
    "described", [each for each in OPERATIONS if each.tag != "Documents"], ids=lambda each: each.name
)
async def test_anything_that_is_sent_is_answered_as_described(api: Api, described: Operation) -> None:
    """Requests made from the document, right and wrong: what the schemas refuse is refused."""
    operation = DESCRIPTION[described.path][described.method]
    client = "admin" if described.scope == "admin" else "city"
    can_be_wrong = bool(described.body) or any(each.where != "path" for each in described.parameters)

    def run() -> None:
        for mode in list(schemathesis.GenerationMode) if can_be_wrong else [schemathesis.GenerationMode.POSITIVE]:

            @FUZZED
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: schemathesis.Case[Any]) -> None:
                response = case.call(base_url=api.address, headers=bearer(client), timeout=30)
                lenient = case.media_type == JUDGED_ONE_BY_ONE or response.status_code == TOO_LARGE.status
                judged = CHECKS if lenient else [*CHECKS, negative_data_rejection]
                case.validate_response(response, checks=judged)

            ask()

    await asyncio.to_thread(run)
