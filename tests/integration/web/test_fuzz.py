"""Anything may come in: never a 500, and what was acknowledged is stored."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from schemas.events import EventType
from tests.api import Api, bearer, composed, served

FUZZED = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
_near = st.sampled_from(["enfance", "cantine", "F-1", "P-1", "GET", "cash", 1, 2, 4250, "2026-11-23", "e30="])
_lines = st.lists(st.fixed_dictionaries({"number": _near, "amount_cents": _near}), max_size=3)
_names = ["regie", "number", "reference", "amount_cents", "invoices", "account", "means", "method", "body", "headers"]
_data = st.dictionaries(st.sampled_from(_names), _near | _lines | _json, max_size=8)
_events = st.fixed_dictionaries(
    {
        "specversion": st.just("1.0") | _json,
        "id": st.text(min_size=1, max_size=5) | _json,
        "source": st.just("/s") | _json,
        "type": st.sampled_from(list(EventType)) | _json,
        "data": _data | _json,
    },
    optional={"time": _near | _json, "traceparent": _json, "datacontenttype": _near, "ext": _json},
)
_right = st.builds(
    lambda n, cents: {
        "specversion": "1.0",
        "id": f"e{n}",
        "source": "/s",
        "type": "fr.lettrage.invoice.issued.v1",
        "data": {"regie": "enfance", "number": f"F-{n}", "account": "A", "amount_cents": cents},
    },
    st.integers(0, 30),
    st.integers(0, 3),
)
_header = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20)
_types = st.sampled_from(
    [
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/json",
        "text/plain",
        "",
        "application/cloudevents+json; charset=utf-16",
    ]
)


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    """A client, whose every example runs on this test's loop."""
    async with composed(database_url) as app, served(app) as client:
        yield client


def examples(
    strategy: st.SearchStrategy[Any],
) -> Callable[[Callable[[Any], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """Run an asynchronous check on many examples, each on the loop of the test that waits in another thread."""

    def made(check: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        loop = asyncio.get_running_loop()

        @FUZZED
        @given(strategy)
        def run(example: Any) -> None:  # noqa: ANN401 (whatever was drawn)
            asyncio.run_coroutine_threadsafe(check(example), loop).result(30)

        return run

    return made


async def test_any_batch_of_nearly_right_events(api: Api) -> None:
    """Each gets its own answer; what was acknowledged is stored, and nothing else is."""
    acknowledged: set[str] = set()

    @examples(st.lists(_right | _events, max_size=6))
    async def check(events: list[Any]) -> None:
        response = await api.batch(events)
        assert response.status == 202, await response.text()
        results = (await response.json())["results"]
        assert len(results) == len(events)
        for sent, result in zip(events, results, strict=True):
            if result["status"] in {"accepted", "duplicate"}:
                acknowledged.add(sent["id"])
                assert "problem" not in result
            else:
                assert result["problem"]["status"] in {400, 403, 409, 422}

    await asyncio.to_thread(check)
    assert acknowledged
    assert {row["id"] for row in await api.app.events()} == acknowledged
    await api.app.reconcile()
    assert await api.app.pool.fetchval("SELECT count(*) FROM pending") == 0


async def test_any_bytes_as_an_event(api: Api) -> None:
    """Any body, media type and headers: an answer below 500."""

    @examples(
        st.tuples(
            st.binary(max_size=200) | _events.map(lambda each: json.dumps(each).encode()),
            _types,
            st.dictionaries(
                st.sampled_from(
                    ["ce-id", "ce-source", "ce-type", "ce-specversion", "ce-x", "Prefer", "Content-Encoding"]
                ),
                _header,
                max_size=5,
            ),
        )
    )
    async def check(request: tuple[bytes, str, dict[str, str]]) -> None:
        body, content_type, headers = request
        sent = {"Content-Type": content_type} | headers | bearer("city")
        response = await api.http.post(f"{api.address}/v1/events", data=body, headers=sent)
        assert response.status < 500
        await response.read()

    await asyncio.to_thread(check)


async def test_any_callback(api: Api) -> None:
    """Any body and query of any régie's name: stored and 200, or refused; then all of it reconciles."""
    taken = 0

    @examples(
        st.tuples(
            st.sampled_from(["enfance", "piscine", "cantine"]) | st.text(max_size=10),
            st.binary(max_size=300)
            | st.dictionaries(
                st.sampled_from(["signature", "vads_trans_id", "vads_ctx_mode", "transaction_id", "signed", "idop"]),
                st.text(max_size=10),
            ).map(lambda form: "&".join(f"{name}={quote(value)}" for name, value in form.items()).encode()),
            st.text(max_size=30),
            st.sampled_from(["GET", "POST"]),
        )
    )
    async def check(request: tuple[str, bytes, str, str]) -> None:
        nonlocal taken
        regie, body, query, method = request
        url = URL(f"{api.address}/v1/callbacks/{quote(regie, safe='')}?{quote(query)}", encoded=True)
        response = await api.http.request(method, url, data=body)
        assert response.status in {200, 404, 429, 405}
        taken += response.status == 200

    await asyncio.to_thread(check)
    assert len(await api.app.events()) == taken > 0
    await api.app.reconcile()
    assert await api.app.pool.fetchval("SELECT count(*) FROM pending WHERE NOT parked") == 0


async def test_any_question(api: Api) -> None:
    """Any path and parameters: an answer below 500, JSON each time."""
    parts = st.sampled_from(["v1", "regies", "enfance", "invoices", "payments", "discrepancies", "history", "F-1"])
    names = st.sampled_from(["account", "view", "limit", "cursor", "state", "x"])

    @examples(
        st.tuples(
            st.lists(parts | st.text(max_size=5), max_size=7),
            st.lists(st.tuples(names, st.text(max_size=8)), max_size=3),
        )
    )
    async def check(request: tuple[list[str], list[tuple[str, str]]]) -> None:
        path, parameters = request
        query = "&".join(f"{name}={quote(value)}" for name, value in parameters)
        url = URL(f"{api.address}/{'/'.join(quote(part, safe='') for part in path)}?{query}", encoded=True)
        response = await api.http.get(url, headers=bearer("city"))
        assert response.status < 500
        assert isinstance(json.loads(await response.read()), dict)

    await asyncio.to_thread(check)
