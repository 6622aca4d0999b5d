"""States are read by the database's clock, by who may, in pages."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from yarl import URL

from tests.api import Api, event, issued, started
from tests.integration.web.test_events_in import problem

INVOICE_KEYS = [
    "regie",
    "number",
    "account",
    "amount_cents",
    "issued_on",
    "label",
    "document_url",
    "means",
    "state",
    "payable_again_at",
    "to_check",
    "paid_at",
    "paid_by",
    "payments",
    "version",
]
PAYMENT_KEYS = [
    "regie",
    "reference",
    "gateway_reference",
    "gateway_references",
    "state",
    "amount_cents",
    "received_cents",
    "invoices",
    "started_at",
    "deadline",
    "payable_again_at",
    "settled_at",
    "late",
    "provisional",
    "reason",
]


async def told(api: Api, *events: dict[str, Any]) -> None:
    """Send these events and have them reconciled."""
    results = (await (await api.batch(list(events))).json())["results"]
    assert {result["status"] for result in results} == {"accepted"}, results
    await api.app.reconcile()


async def got(api: Api, path: str, client: str = "portail") -> Any:  # noqa: ANN401 (any JSON)
    """What an address answers."""
    response = await api.get(path, client)
    assert response.status == 200, await response.text()
    assert response.content_type == "application/json"
    return await response.json()


async def numbers(api: Api, query: str = "", regie: str = "enfance") -> list[str]:
    """The numbers of the invoices in a list, sorted."""
    return sorted(item["number"] for item in (await got(api, f"/v1/regies/{regie}/invoices{query}"))["items"])


async def pass_holds(api: Api) -> None:
    """Let every hold end on the database's clock, unwritten."""
    await api.app.pool.execute(
        "UPDATE payments SET deadline = deadline - interval '1 day',"
        " payable_again_at = payable_again_at - interval '1 day' WHERE NOT hold_over"
    )
    await api.app.pool.execute("UPDATE holds SET payable_again_at = payable_again_at - interval '1 day'")


async def test_an_invoice_as_read(api: Api) -> None:
    """The contract's keys in its order, with what its event said."""
    url = "https://portail.example/f/1.pdf"
    await told(api, issued(issued_on="2026-11-01", label="Cantine, octobre", document_url=url, means="card"))
    invoice = await got(api, "/v1/regies/enfance/invoices/F-1")
    assert list(invoice) == INVOICE_KEYS
    assert invoice == {
        "regie": "enfance",
        "number": "F-1",
        "account": "DUPONT",
        "amount_cents": 4250,
        "issued_on": "2026-11-01",
        "label": "Cantine, octobre",
        "document_url": url,
        "means": "card",
        "state": "payable",
        "payable_again_at": None,
        "to_check": False,
        "paid_at": None,
        "paid_by": None,
        "payments": [],
        "version": 1,
    }


async def test_a_payment_as_read(api: Api) -> None:
    """The contract's keys in its order; times are RFC 3339 UTC."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
    start = started(lines={"F-1": 4250, "F-2": 100}, gateway_reference="G-1") | {"time": at.isoformat()}
    await told(api, issued(), issued("F-2", 100), start)
    payment = await got(api, "/v1/regies/enfance/payments/P-1")
    assert list(payment) == PAYMENT_KEYS
    deadline = (at + timedelta(minutes=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert payment == {
        "regie": "enfance",
        "reference": "P-1",
        "gateway_reference": "G-1",
        "gateway_references": ["G-1"],
        "state": "started",
        "amount_cents": 4350,
        "received_cents": 0,
        "invoices": [{"number": "F-1", "amount_cents": 4250}, {"number": "F-2", "amount_cents": 100}],
        "started_at": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "deadline": deadline,
        "payable_again_at": deadline,
        "settled_at": None,
        "late": False,
        "provisional": False,
        "reason": "hold_taken",
    }
    invoice = await got(api, "/v1/regies/enfance/invoices/F-2")
    assert (invoice["state"], invoice["payable_again_at"]) == ("in_payment", deadline)
    assert invoice["payments"] == [{"reference": "P-1", "state": "started", "amount_cents": 100}]


async def test_a_second_gateway_reference_is_the_latest(api: Api) -> None:
    """Both are listed."""
    await told(api, started(gateway_reference="G-1"))
    await told(api, started(gateway_reference="G-2", event_id="again"))
    payment = await got(api, "/v1/regies/enfance/payments/P-1")
    assert (payment["gateway_reference"], payment["gateway_references"]) == ("G-2", ["G-1", "G-2"])


async def test_a_hold_that_is_over_reads_so_before_anybody_wrote_it(api: Api) -> None:
    """Invoice payable, payment expired, régie counted; the sweep then writes the same."""
    await told(api, issued(), started())
    assert (await got(api, "/v1/regies/enfance"))["invoices"]["in_payment"] == 1
    await pass_holds(api)
    states = []
    for _ in range(2):
        invoice = await got(api, "/v1/regies/enfance/invoices/F-1")
        payment = await got(api, "/v1/regies/enfance/payments/P-1")
        regie = await got(api, "/v1/regies/enfance")
        states.append((invoice["state"], invoice["payable_again_at"], invoice["payments"], payment["state"], regie))
        assert payment["reason"] in {"hold_over", "hold_expired"}
        assert await numbers(api, "?view=payable") == ["F-1"]
        assert await numbers(api, "?view=history") == []
        assert await api.app.end_due_holds() == (len(states) == 1)
    assert states[0] == states[1]
    assert states[0][:4] == (
        "payable",
        None,
        [{"reference": "P-1", "state": "expired", "amount_cents": 4250}],
        "expired",
    )
    assert states[0][4]["invoices"] == {"payable": 1, "in_payment": 0, "paid": 0, "withdrawn": 0}
    assert states[0][4]["payable_cents"] == 4250


async def test_a_paid_invoice_says_when_and_by_whom(api: Api) -> None:
    """Its payment is settled, and is payable again never."""
    await told(api, issued(), started())
    await api.http.get(f"{api.address}/v1/callbacks/enfance?transaction_id=P-1&ok=1&signed=1")
    await api.app.reconcile()
    invoice = await got(api, "/v1/regies/enfance/invoices/F-1")
    payment = await got(api, "/v1/regies/enfance/payments/P-1")
    assert (invoice["state"], invoice["paid_by"], payment["state"]) == ("paid", "P-1", "paid")
    assert invoice["paid_at"] is not None
    assert payment["settled_at"] is not None
    assert (invoice["payable_again_at"], payment["payable_again_at"]) == (None, None)


async def test_an_invoice_s_history(api: Api) -> None:
    """Every change, oldest first, with the event and the payment that caused it."""
    await told(api, issued())
    await told(api, started())
    await pass_holds(api)
    await api.app.end_due_holds()
    items = (await got(api, "/v1/regies/enfance/invoices/F-1/history"))["items"]
    assert [list(item) for item in items] == [["at", "event_id", "event_type", "payment", "from", "to", "reason"]] * 3
    assert [(item["from"], item["to"], item["payment"], item["reason"]) for item in items] == [
        (None, "payable", None, "issued"),
        ("payable", "in_payment", "P-1", "hold_taken"),
        ("in_payment", "payable", "P-1", "hold_expired"),
    ]
    assert [item["event_type"].split(".")[2:4] for item in items] == [
        ["invoice", "issued"],
        ["payment", "started"],
        ["payment", "timed_out"],
    ]
    assert items[0]["event_id"] == "issued-F-1"


async def test_a_regie_at_a_glance(api: Api) -> None:
    """Counts by state, what is payable, what is to explain."""
    withdrawn = event("invoice.withdrawn", {"regie": "enfance", "number": "F-3"}, "w")
    await told(api, issued("F-1", 100), issued("F-2", 200), issued("F-3", 300), withdrawn)
    await told(api, started(lines={"F-2": 200}))
    assert await got(api, "/v1/regies/enfance") == {
        "code": "enfance",
        "label": "Régie enfance",
        "invoices": {"payable": 1, "in_payment": 1, "paid": 0, "withdrawn": 1},
        "payable_cents": 100,
        "open_discrepancies": 0,
    }


async def test_each_client_sees_its_own_regies(api: Api) -> None:
    """All of them with `*`, else those of its configuration."""
    assert [item["code"] for item in (await got(api, "/v1/regies", "city"))["items"]] == [
        "cantine",
        "enfance",
        "piscine",
    ]
    assert [item["code"] for item in (await got(api, "/v1/regies", "reader"))["items"]] == ["enfance"]


async def test_the_portal_s_three_tabs(api: Api) -> None:
    """Payer, Historique, Mes prélèvements: each invoice where a family looks for it."""
    settled = event(
        "invoice.settled", {"regie": "enfance", "number": "PAID", "amount_cents": 4250, "means": "cash"}, "s"
    )
    old = (datetime.now(UTC) - timedelta(days=800)).date().isoformat()
    settled_old = event(
        "invoice.settled", {"regie": "enfance", "number": "OLD", "amount_cents": 4250, "means": "cash"}, "o"
    )
    await told(
        api,
        issued("TO-PAY"),
        issued("HELD"),
        issued("PAID"),
        issued("OLD", issued_on=old),
        issued("DEBIT", means="direct_debit"),
        issued("WITHDRAWN"),
        issued("OTHER", account="MARTIN"),
    )
    withdrawn = event("invoice.withdrawn", {"regie": "enfance", "number": "WITHDRAWN"}, "w")
    await told(api, started(lines={"HELD": 4250}), settled, settled_old, withdrawn)
    family = "&account=DUPONT"
    assert await numbers(api, "?view=payable" + family) == ["TO-PAY"]
    assert await numbers(api, "?view=history" + family) == ["HELD", "PAID"]
    assert await numbers(api, "?view=direct_debit" + family) == ["DEBIT"]
    assert len(await numbers(api, "?account=DUPONT")) == 6
    assert len(await numbers(api)) == 7
    assert await numbers(api, "?account=NOBODY") == []


async def test_an_invoice_known_from_a_payment_alone_is_shown(api: Api) -> None:
    """With the amount of its line; nobody sees one that only waiting facts name."""
    waiting = event("invoice.settled", {"regie": "enfance", "number": "GHOST", "amount_cents": 1, "means": "cash"}, "g")
    await told(api, started(lines={"F-9": 77}), waiting)
    assert (await got(api, "/v1/regies/enfance/invoices/F-9"))["amount_cents"] == 77
    assert await numbers(api) == ["F-9"]
    await problem(await api.get("/v1/regies/enfance/invoices/GHOST"), 404, "invoice-not-found")


async def test_pages_are_stable_while_invoices_come(api: Api) -> None:
    """Each invoice of the first moment is seen once, whatever comes between two pages."""
    await told(api, *[issued(f"F-{n:02}") for n in range(25)])
    seen: list[str] = []
    cursor: str | None = ""
    pages = 0
    while cursor is not None:
        page = await got(api, f"/v1/regies/enfance/invoices?limit=10{'&cursor=' + cursor if cursor else ''}")
        seen += [item["number"] for item in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
        await told(api, issued(f"NEW-{pages}"))
    assert seen == [f"F-{n:02}" for n in reversed(range(25))]
    assert pages == 3


async def test_a_full_last_page_has_no_cursor(api: Api) -> None:
    """Exactly as many as asked for are all there are."""
    await told(api, *[issued(f"F-{n}") for n in range(3)])
    page = await got(api, "/v1/regies/enfance/invoices?limit=3")
    assert (len(page["items"]), page["next_cursor"]) == (3, None)


async def test_discrepancies_page_by_page(api: Api) -> None:
    """Oldest first, the contract's keys, filtered by state."""
    await told(
        api,
        *[
            event(
                "gateway.callback",
                {
                    "regie": "piscine",
                    "method": "GET",
                    "query": f"vads_trans_id=00000{n}&vads_trans_date=20261123083000",
                },
                f"c{n}",
            )
            for n in range(3)
        ],
    )
    first = await got(api, "/v1/regies/piscine/discrepancies?state=open&limit=2")
    second = await got(api, f"/v1/regies/piscine/discrepancies?state=open&limit=2&cursor={first['next_cursor']}")
    items = first["items"] + second["items"]
    assert [len(first["items"]), len(second["items"]), second["next_cursor"]] == [2, 1, None]
    assert len({item["id"] for item in items}) == 3
    assert [item["opened_at"] for item in items] == sorted(item["opened_at"] for item in items)
    keys = ["id", "kind", "opened_at", "payment", "invoice", "amount_cents", "detail", "state"]
    assert list(items[0]) == [*keys, "regie", "resolution", "comment", "resolved_at", "resolved_by"]
    assert {(item["kind"], item["state"]) for item in items} == {("unverified_callback", "open")}
    assert (await got(api, "/v1/regies/piscine/discrepancies?state=resolved"))["items"] == []
    assert len((await got(api, "/v1/regies/piscine/discrepancies"))["items"]) == 3
    assert (await got(api, "/v1/regies/piscine"))["open_discrepancies"] == 3


@pytest.mark.parametrize("number", ["2026/11-é 1", "a%2Fb", "?x=#y", "..", "F+1", "😀", "'; DROP TABLE invoices; --"])
async def test_any_number_can_be_asked_for(api: Api, number: str) -> None:
    """Percent-encoded in the address."""
    await told(api, issued(number, event_id="e"), started("P/" + number, lines={number: 4250}, event_id="p"))
    path = URL(f"{api.address}/v1/regies/enfance/invoices/{quote(number, safe='')}", encoded=True)
    response = await api.http.get(path, headers={"Authorization": "Bearer portail-token"})
    if number == "..":
        assert response.status in {200, 404}  # an address with dots is shortened on its way
        return
    assert (await response.json())["number"] == number
    payment = URL(f"{api.address}/v1/regies/enfance/payments/{quote('P/' + number, safe='')}", encoded=True)
    response = await api.http.get(payment, headers={"Authorization": "Bearer portail-token"})
    assert (await response.json())["reference"] == "P/" + number


WRONG = [
    ("/v1/regies/enfance/invoices/NONE", 404, "invoice-not-found"),
    ("/v1/regies/enfance/invoices/NONE/history", 404, "invoice-not-found"),
    ("/v1/regies/enfance/payments/NONE", 404, "payment-not-found"),
    ("/v1/regies/enfance/payments/%00", 404, "payment-not-found"),
    ("/v1/regies/enfance/invoices/" + "x" * 300, 404, "invoice-not-found"),
    ("/v1/regies/unknown", 404, "regie-not-found"),
    ("/v1/regies/unknown/invoices", 404, "regie-not-found"),
    ("/v1/regies/%00", 404, "regie-not-found"),
    ("/v1/regies/enfance/nothing", 404, "not-found"),
    ("/v2/regies", 404, "not-found"),
    ("/", 404, "not-found"),
    ("/v1/regies/enfance/invoices?view=paid", 422, "invalid-parameter"),
    ("/v1/regies/enfance/invoices?limit=0", 422, "invalid-parameter"),
    ("/v1/regies/enfance/invoices?limit=1001", 422, "invalid-parameter"),
    ("/v1/regies/enfance/invoices?limit=ten", 422, "invalid-parameter"),
    ("/v1/regies/enfance/invoices?limit=" + "9" * 50, 422, "invalid-parameter"),
    ("/v1/regies/enfance/invoices?limit=1&limit=2", 422, "invalid-parameter"),
    ("/v1/regies/enfance/invoices?acount=DUPONT", 422, "invalid-parameter"),
    ("/v1/regies/enfance/invoices?account=%00", 422, "invalid-parameter"),
    ("/v1/regies/enfance/invoices?account=%ff", 200, ""),
    ("/v1/regies/enfance/invoices?cursor=x", 422, "invalid-parameter"),
    ("/v1/regies/enfance/invoices?cursor=WyJ4Il0", 422, "invalid-parameter"),
    ("/v1/regies/enfance/invoices?cursor=Wzk5OTk5OTk5OTk5OTk5OTk5OTk5OTld", 422, "invalid-parameter"),
    ("/v1/regies/enfance/invoices?cursor=", 422, "invalid-parameter"),
    ("/v1/regies/enfance/discrepancies?cursor=WzFd", 422, "invalid-parameter"),
    ("/v1/regies/enfance/discrepancies?cursor=WyJ4IiwieSJd", 422, "invalid-parameter"),
    ("/v1/regies/enfance/discrepancies?state=closing", 422, "invalid-parameter"),
    ("/v1/regies?limit=1", 422, "invalid-parameter"),
]


async def test_wrong_questions_get_a_problem(api: Api, subtests: pytest.Subtests) -> None:
    """404 for what is not there, 422 for a parameter that is not understood: never everything instead."""
    for path, status, slug in WRONG:
        with subtests.test(path[:80]):
            response = await api.get(path, "city")
            if slug:
                await problem(response, status, slug)
            else:
                assert response.status == status


async def test_reading_needs_its_scope_and_regie(api: Api, subtests: pytest.Subtests) -> None:
    """Every address: 401 without a token, 403 without `read`, 403 for another régie, known or not."""
    of_a_regie = ("", "/invoices", "/invoices/F-1", "/invoices/F-1/history", "/payments/P-1", "/discrepancies")
    for path in ("/v1/regies", *(f"/v1/regies/enfance{end}" for end in of_a_regie)):
        with subtests.test(path):
            await problem(await api.http.get(api.address + path), 401, "unauthorized")
            await problem(await api.get(path, "sender"), 403, "scope-missing")
            await problem(await api.get(path, "admin"), 403, "scope-missing")
            for other in ("cantine", "unknown"):
                if "enfance" in path:
                    refused = await api.get(path.replace("enfance", other), "reader")
                    await problem(refused, 403, "regie-forbidden")


async def test_only_get_reads(api: Api) -> None:
    """405 with what is allowed."""
    for path in ("/v1/regies", "/v1/regies/enfance/invoices"):
        response = await api.http.delete(api.address + path)
        await problem(response, 405, "method-not-allowed")
        assert response.headers["Allow"] == "GET"
    response = await api.http.get(f"{api.address}/v1/events")
    await problem(response, 405, "method-not-allowed")
    assert response.headers["Allow"] == "POST"
