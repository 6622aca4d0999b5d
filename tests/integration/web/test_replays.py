"""Replays over HTTP: who may, what is wanted, what is answered at once and what is left to a clock."""

# ruff: noqa: ANN401 (bodies are any JSON, wrong ones too)

import json
from typing import Any

import pytest
from aiohttp import ClientResponse

from tests.api import Api, bearer, event, issued, started
from tests.integration.web.test_events_in import problem
from worker.store.seals import Sealer
from worker.verify.books import proved_books

WHERE = "/v1/admin/replays"
WHY = "a row was edited by hand"
EDIT = "UPDATE invoices SET state = 'withdrawn', withdrawn = true, reason = 'x'"


async def ask(api: Api, body: Any, client: str = "admin") -> ClientResponse:
    """Ask for a replay."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await api.http.post(f"{api.address}{WHERE}", data=sent, headers=bearer(client))


async def edited(api: Api, *regies: str) -> None:
    """An invoice in each régie, edited by hand."""
    for regie in regies or ("enfance",):
        assert (await api.post(issued(f"F-{regie}", regie=regie, event_id=f"issued-{regie}"), "city")).status == 202
    await api.app.reconcile()
    await api.app.pool.execute(EDIT)


async def states(api: Api) -> dict[str, str]:
    """Of each invoice."""
    return dict(await api.app.pool.fetch("SELECT number, state FROM invoices"))


async def test_a_dry_run_shows_and_a_replay_does(api: Api) -> None:
    """The same changes; what was done is shown again by its id."""
    await edited(api)
    foreseen = await (await ask(api, {"filter": {}, "dry_run": True})).json()
    assert await states(api) == {"F-enfance": "withdrawn"}
    answer = await ask(api, {"filter": {"regie": "enfance"}, "comment": WHY})
    done = await answer.json()
    assert (answer.status, done["matched"], done["changed"], done["state"]) == (200, 1, 1, "done")
    (change,) = done["changes"]
    named = ("invoice", "from", "to", "reason")
    assert [change[name] for name in named] == ["F-enfance", "withdrawn", "payable", "issued"]
    assert foreseen["changes"] == done["changes"]
    assert (foreseen["matched"], foreseen["changed"]) == (1, 1)
    assert await states(api) == {"F-enfance": "payable"}
    shown = await (await api.get(f"{WHERE}/{done['id']}", "admin")).json()
    assert shown == done
    assert (shown["client"], shown["comment"], shown["dry_run"]) == ("admin", WHY, False)
    again = await (await ask(api, {"filter": {}, "comment": WHY})).json()
    assert (again["changed"], again["changes"]) == (0, [])


HAND = {
    "an invoice's state": "UPDATE invoices SET state = 'payable', paid_at = NULL, paid_by = NULL WHERE state = 'paid'",
    "an invoice's amount": "UPDATE invoices SET amount_cents = amount_cents + 1, version = version + 7",
    "a payment's state": "UPDATE payments SET state = 'expired', reason = 'x' WHERE state = 'paid'",
    "a payment's money": "UPDATE payments SET received_cents = received_cents + 100",
    "a discrepancy": "UPDATE discrepancies SET amount_cents = amount_cents + 1, state = 'closed'",
    "an owner": "UPDATE gateway_references SET payment_id = NULL",
    "a charge": "DELETE FROM charges",
    "cash that nobody brought": "INSERT INTO adjustments SELECT 'settled', 'forged', 900, 1, id FROM invoices",
}


async def test_the_books_are_proved_after_a_replay(api: Api, subtests: pytest.Subtests) -> None:
    """`lettrage verify` finds nothing: what was restored is decided again from its event, sealed or not."""
    for sent in (issued("F-1"), started("P-1"), issued("F-2"), started("P-2", lines={"F-2": 4250})):
        assert (await api.post(sent)).status == 202
    await api.http.get(f"{api.address}/v1/callbacks/enfance?transaction_id=P-1&ok=1&signed=1")
    cash = {"regie": "enfance", "number": "F-1", "amount_cents": 4250, "means": "cash"}
    assert (await api.post(event("invoice.settled", cash))).status == 202
    await api.app.reconcile()
    for what, statement in HAND.items():
        with subtests.test(what):
            await api.app.pool.execute(statement)
            assert not (await proved_books(str(api.app.settings.database_url))).ok
            assert (await (await ask(api, {"filter": {}, "comment": WHY})).json())["changed"] > 0
            await Sealer(api.app.pool).seal()
            verdict = await proved_books(str(api.app.settings.database_url))
            assert [str(each) for each in verdict.differences] == []


async def test_an_invoices_history_says_that_it_was_restored(api: Api) -> None:
    """By which event, from what, to what."""
    await edited(api)
    done = await (await ask(api, {"filter": {}, "comment": WHY})).json()
    history = await (await api.get("/v1/regies/enfance/invoices/F-enfance/history", "city")).json()
    last = history["items"][-1]
    named = ("event_type", "from", "to", "reason")
    assert [last[name] for name in named] == [
        "fr.lettrage.dossier.restored.v1",
        "withdrawn",
        "payable",
        "restored_by_replay",
    ]
    kept = await api.app.pool.fetchval("SELECT source FROM events WHERE id = $1", last["event_id"])
    assert kept == f"/replays/{done['id']}"


async def test_much_is_answered_at_once_and_left_to_a_clock(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """202, and where to look; the clock does it."""
    monkeypatch.setattr("worker.replaying.AT_ONCE", 0)
    await edited(api)
    answer = await ask(api, {"filter": {}, "comment": WHY})
    begun = await answer.json()
    assert (answer.status, begun["state"], begun["changed"]) == (202, "running", 0)
    assert answer.headers["Location"] == f"{WHERE}/{begun['id']}"
    assert await states(api) == {"F-enfance": "withdrawn"}
    for _ in range(3):
        await api.app.replayer.advance()
    done = await (await api.get(answer.headers["Location"], "admin")).json()
    assert (done["state"], done["matched"], done["replayed"], done["changed"]) == ("done", 1, 1, 1)


async def test_parked_events_are_given_back_and_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """202 while they wait for a worker, rung for; then what became of them."""
    monkeypatch.setattr("worker.replaying.WAIT_SECONDS", 0.3)
    assert (await api.post(issued("F-1"))).status == 202
    await api.app.pool.execute("UPDATE pending SET parked = true, attempts = 8")
    answer = await ask(api, {"filter": {"parked": True}, "comment": "mended"})
    begun = await answer.json()
    assert (answer.status, begun["outcomes"], begun["matched"]) == (202, {"waiting": 1}, 1)
    assert "invoice-changed" in api.app.bell.rung
    await api.app.reconcile()
    await api.app.replayer.advance()
    done = await (await api.get(answer.headers["Location"], "admin")).json()
    assert (done["state"], done["outcomes"]) == ("done", {"applied": 1})
    assert [change["invoice"] for change in done["changes"]] == ["F-1"]


async def test_it_needs_the_scope_admin(api: Api) -> None:
    """To ask and to look."""
    await problem(await ask(api, {"filter": {}, "dry_run": True}, "city"), 403, "scope-missing")
    await problem(await api.get(f"{WHERE}/1", "city"), 403, "scope-missing")


async def test_an_admin_of_one_regie_replays_that_alone(api: Api) -> None:
    """Without a régie in the filter: its own; another's is refused; others' replays are not there."""
    await edited(api, "enfance", "piscine")
    await problem(await ask(api, {"filter": {"regie": "piscine"}, "dry_run": True}, "nursery"), 403, "regie-forbidden")
    done = await (await ask(api, {"filter": {}, "comment": WHY}, "nursery")).json()
    assert (done["matched"], [change["regie"] for change in done["changes"]]) == (1, ["enfance"])
    assert await states(api) == {"F-enfance": "payable", "F-piscine": "withdrawn"}
    assert (await api.get(f"{WHERE}/{done['id']}", "nursery")).status == 200
    of_all = await (await ask(api, {"filter": {}, "dry_run": True})).json()
    await problem(await api.get(f"{WHERE}/{of_all['id']}", "nursery"), 404, "replay-not-found")
    assert (await api.get(f"{WHERE}/{done['id']}", "admin")).status == 200


@pytest.mark.parametrize("key", ["0", "99", "x", "-1", "1e3", "9" * 30])
async def test_an_unknown_one_is_not_found(api: Api, key: str) -> None:
    """Whatever it looks like."""
    await problem(await api.get(f"{WHERE}/{key}", "admin"), 404, "replay-not-found")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"filter": {}}, "/comment"),
        ({"filter": {}, "comment": " "}, "/comment"),
        ({"dry_run": True}, "/filter"),
        ({"filter": {"ids": []}, "dry_run": True}, "/filter/ids"),
        ({"filter": {"since": "yesterday"}, "dry_run": True}, "/filter/since"),
        ({"filter": {"type": "payment.started"}, "dry_run": True}, "/filter/type"),
        ({"filter": {"outcome": "parked"}, "dry_run": True}, "/filter/outcome"),
        ({"filter": {"regie": "É"}, "dry_run": True}, "/filter/regie"),
        ({"filter": {"invoice": "F-1"}, "dry_run": True}, "/filter/invoice"),
        ({"filter": {}, "dry_run": "yes"}, "/dry_run"),
    ],
)
async def test_every_fault_has_its_pointer(api: Api, body: Any, pointer: str) -> None:
    """422, and nothing is kept."""
    said = await problem(await ask(api, body), 422, "invalid-request")
    assert [fault["pointer"] for fault in said["errors"]] == [pointer]
    assert await api.app.pool.fetchval("SELECT count(*) FROM replays") == 0


async def test_what_is_no_json_is_told_so(api: Api) -> None:
    """400."""
    await problem(await ask(api, b"{"), 400, "not-json")
