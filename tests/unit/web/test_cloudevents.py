"""What comes over HTTP becomes an event, or a problem that names every fault."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import EventType, InvoiceIssued, NewEvent, PaymentStarted
from tests.api import event, issued, started
from worker.settings import Client
from worker.web.cloudevents import BATCH, PLAIN, STRUCTURED, decoded, judge, read
from worker.web.problems import MAX_FAULTS, Problem

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
PORTAIL = Client(name="portail", scopes=frozenset({"events"}), regies=frozenset({"enfance"}))
ANYONE = Client(name="city", scopes=frozenset({"events"}), regies=frozenset({"*"}))


def judged(sent: object, client: Client = PORTAIL) -> NewEvent | Problem:
    """What becomes of an event as JSON."""
    return judge(sent, client, NOW)


def accepted(sent: object, client: Client = PORTAIL) -> NewEvent:
    """The event, which has no fault."""
    found = judged(sent, client)
    assert isinstance(found, NewEvent), found
    return found


def refused(sent: object, status: int, client: Client = PORTAIL) -> dict[str, str]:
    """The faults of an event that is refused, code by pointer."""
    found = judged(sent, client)
    assert isinstance(found, Problem), found
    assert found.status == status, found
    return {fault.pointer: fault.code for fault in found.errors}


def test_a_right_event_is_kept_whole() -> None:
    """Every attribute that means something reaches the store; the time is UTC."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    found = accepted(
        started(lines={"F-1": 100, "F-2": 50}) | {"time": "2026-11-23T09:30:00+01:00", "traceparent": trace}
    )
    assert (found.client, found.source, found.id) == ("portail", "/portail", "started-P-1")
    assert (found.type, found.regie) == (EventType.PAYMENT_STARTED, "enfance")
    assert found.time == datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
    assert isinstance(found.data, PaymentStarted)
    assert [line.number for line in found.data.invoices] == ["F-1", "F-2"]
    assert found.trace == trace


def test_the_digest_is_of_type_and_data_alone() -> None:
    """Another time, trace, order of members, spelling or explicit null is the same content; other data is not."""
    plain = issued()
    data = plain["data"]
    turned = dict(reversed(data.items())) | {"label": None}
    same = [plain | {"time": "2020-01-01T00:00:00Z", "traceparent": "x", "other": 1}, plain | {"data": turned}]
    assert {accepted(each).digest for each in same} == {accepted(plain).digest}
    other = [plain | {"data": data | {"amount_cents": 4251}}, plain | {"data": data | {"label": ""}}]
    assert len({accepted(each).digest for each in [plain, *other]}) == 3


def test_types_of_the_same_shape_have_different_digests() -> None:
    """Settled and unsettled carry the same data and are not the same content."""
    data = {"regie": "enfance", "number": "F-1", "amount_cents": 1, "means": "cash"}
    kinds = ("invoice.settled", "invoice.unsettled")
    assert len({accepted(event(kind, data)).digest for kind in kinds}) == 2


@pytest.mark.parametrize(
    ("wrong", "pointer", "code"),
    [
        ({"specversion": "0.3"}, "/specversion", "wrong_format"),
        ({"specversion": 1.0}, "/specversion", "wrong_type"),
        ({"specversion": "1.0\n"}, "/specversion", "wrong_format"),
        ({"id": ""}, "/id", "too_short"),
        ({"id": "x" * 201}, "/id", "too_long"),
        ({"id": 7}, "/id", "wrong_type"),
        ({"id": None}, "/id", "wrong_type"),
        ({"id": "a\x00b"}, "/id", "wrong_format"),
        ({"source": ""}, "/source", "too_short"),
        ({"source": "x" * 301}, "/source", "too_long"),
        ({"type": ["a"]}, "/type", "wrong_type"),
        ({"time": "2026-11-23T09:00:00"}, "/time", "wrong_format"),
        ({"time": "yesterday"}, "/time", "wrong_format"),
        ({"time": 1700000000}, "/time", "wrong_type"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "/time", "out_of_range"),
        ({"time": "9999-12-31T23:59:59-14:00"}, "/time", "out_of_range"),
        ({"Subject": "x"}, "/Subject", "wrong_name"),
        ({"ext~/": "x"}, "/ext~0~1", "wrong_name"),
        ({"extension": {"a": 1}}, "/extension", "wrong_type"),
        ({"data_base64": "e30="}, "/data_base64", "twice"),
    ],
)
def test_what_is_no_cloudevent_is_a_400(wrong: dict[str, Any], pointer: str, code: str) -> None:
    """A wrong attribute is named by its pointer."""
    assert refused(issued() | wrong, 400) == {pointer: code}


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type"])
def test_every_required_attribute_is_asked_for(missing: str) -> None:
    """Without it, it is no CloudEvent."""
    sent = issued()
    del sent[missing]
    assert refused(sent, 400) == {f"/{missing}": "missing"}


@pytest.mark.parametrize("sent", [None, 1, "x", [], True])
def test_only_an_object_is_an_event(sent: object) -> None:
    """Any other JSON is a 400."""
    assert refused(sent, 400) == {}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("fr.lettrage.payment.stared.v1", "unknown_type"),
        ("fr.lettrage.gateway.report.v1", "reserved_type"),
        ("fr.lettrage.payment.timed_out.v1", "reserved_type"),
        ("fr.lettrage.discrepancy.resolved.v1", "reserved_type"),
    ],
)
def test_unknown_types_and_our_own_are_a_422(kind: str, code: str) -> None:
    """The type is named; nobody but Lettrage writes a timeout."""
    assert refused(issued() | {"type": kind}, 422) == {"/type": code}


@pytest.mark.parametrize(
    ("wrong", "pointer", "code"),
    [
        ({"amount_cents": -1}, "/data/amount_cents", "out_of_range"),
        ({"amount_cents": 100_000_000_000}, "/data/amount_cents", "out_of_range"),
        ({"amount_cents": 10**30}, "/data/amount_cents", "out_of_range"),
        ({"amount_cents": 42.5}, "/data/amount_cents", "wrong_type"),
        ({"amount_cents": 42.0}, "/data/amount_cents", "wrong_type"),
        ({"amount_cents": True}, "/data/amount_cents", "wrong_type"),
        ({"amount_cents": "4250"}, "/data/amount_cents", "wrong_type"),
        ({"amount_cents": None}, "/data/amount_cents", "wrong_type"),
        ({"number": "F" * 300}, "/data/number", "too_long"),
        ({"number": ""}, "/data/number", "too_short"),
        ({"number": "F\x00"}, "/data/number", "wrong_format"),
        ({"number": "F\n"}, "/data/number", "wrong_format"),
        ({"regie": "Enfance"}, "/data/regie", "wrong_format"),
        ({"regie": "enfance\n"}, "/data/regie", "wrong_format"),
        ({"label": "\x00"}, "/data/label", "wrong_format"),
        ({"label": "x" * 501}, "/data/label", "too_long"),
        ({"issued_on": "2026-02-30"}, "/data/issued_on", "wrong_format"),
        ({"issued_on": "23/11/2026"}, "/data/issued_on", "wrong_format"),
        ({"document_url": "javascript:alert(1)"}, "/data/document_url", "wrong_format"),
        ({"amount": 4250}, "/data/amount", "unknown_field"),
        ({"a/b~c": 1}, "/data/a~1b~0c", "unknown_field"),
    ],
)
def test_each_fault_of_the_data_is_a_422_that_names_it(wrong: dict[str, Any], pointer: str, code: str) -> None:
    """Negative, fractional, too long, misspelt: one pointer, one stable code."""
    sent = issued()
    sent["data"] |= wrong
    assert refused(sent, 422, ANYONE) == {pointer: code}


def test_every_fault_is_told_at_once() -> None:
    """Nine things are wrong in one event, in fields, lines and between them; nine are named."""
    sent = started() | {"time": "2126-01-01T00:00:00Z"}
    sent["data"] = {
        "regie": "ENFANCE",
        "reference": "R" * 300,
        "amount_cents": 1.5,
        "montant": 3,
        "invoices": [
            {"number": "F-1", "amount_cents": 100},
            {"number": "F-1", "amount_cents": 0},
            {"amount_cents": 100, "acount": "DUPONT"},
            "F-4",
        ],
    }
    assert refused(sent, 422, ANYONE) == {
        "/time": "too_far_ahead",
        "/data/regie": "wrong_format",
        "/data/reference": "too_long",
        "/data/amount_cents": "wrong_type",
        "/data/montant": "unknown_field",
        "/data/invoices/1/amount_cents": "out_of_range",
        "/data/invoices/2/number": "missing",
        "/data/invoices/2/acount": "unknown_field",
        "/data/invoices/3": "wrong_type",
    }


def test_an_invoice_twice_in_one_payment_is_named() -> None:
    """By the pointer of its second line."""
    sent = started()
    sent["data"] |= {
        "amount_cents": 300,
        "invoices": [{"number": number, "amount_cents": 100} for number in ("F-1", "F-2", "F-1")],
    }
    assert refused(sent, 422) == {"/data/invoices/2/number": "twice"}


def test_lines_must_sum_to_the_amount() -> None:
    """Both sums are in the detail."""
    sent = started(lines={"F-1": 100, "F-2": 200}, amount_cents=301)
    assert refused(sent, 422) == {"/data/amount_cents": "sum_differs"}
    problem = judged(sent)
    assert isinstance(problem, Problem)
    assert problem.errors[0].detail == "is 301, but its invoices sum to 300"


@pytest.mark.parametrize(("count", "faults"), [(100, {}), (101, {"/data/invoices": "too_long"})])
def test_a_payment_has_a_hundred_invoices_at_most(count: int, faults: dict[str, str]) -> None:
    """One more is refused, without a word about each line."""
    sent = started(lines={f"F-{n}": 1 for n in range(count)})
    if faults:
        assert refused(sent, 422) == faults
    else:
        assert len(accepted(sent).data.invoices) == count


def test_a_payment_needs_an_invoice() -> None:
    """An empty list is too short."""
    assert refused(started(invoices=[], amount_cents=1), 422) == {"/data/invoices": "too_short"}


def test_an_answer_lists_a_hundred_faults_at_most() -> None:
    """However broken the event is."""
    problem = judged(event("invoice.issued", {f"x{n}": 1 for n in range(1000)}), ANYONE)
    assert isinstance(problem, Problem)
    assert len(problem.errors) == MAX_FAULTS


@pytest.mark.parametrize(
    ("ago", "code"),
    [
        (timedelta(hours=-1, seconds=-1), "too_far_ahead"),
        (timedelta(hours=-1), None),
        (timedelta(days=30), None),
        (timedelta(days=30, seconds=1), "too_old"),
        (timedelta(days=20_000), "too_old"),
    ],
)
def test_a_payment_starts_about_now(ago: timedelta, code: str | None) -> None:
    """At most 1 h ahead, at most 30 days old, to the second."""
    sent = started() | {"time": (NOW - ago).isoformat()}
    if code:
        assert refused(sent, 422) == {"/time": code}
    else:
        assert accepted(sent).time == NOW - ago


@pytest.mark.parametrize("time", ["1970-01-01T00:00:00Z", "2126-01-01T00:00:00Z"])
def test_other_facts_may_be_as_old_as_they_are(time: str) -> None:
    """Only a payment-started's time decides a deadline."""
    assert accepted(issued() | {"time": time}).time == datetime.fromisoformat(time)


@pytest.mark.parametrize(
    ("data", "code"), [(None, "missing"), ("{}", "wrong_type"), ([], "wrong_type"), (3, "wrong_type")]
)
def test_data_is_an_object(data: object, code: str) -> None:
    """Null is the same as none; text is not parsed again."""
    assert refused(issued() | {"data": data}, 422) == {"/data": code}


def test_data_may_come_in_base64() -> None:
    """It is JSON all the same."""
    sent = issued()
    encoded = base64.b64encode(json.dumps(sent.pop("data")).encode()).decode()
    assert accepted(sent | {"data_base64": encoded}).digest == accepted(issued()).digest


@pytest.mark.parametrize("encoded", ["%%%", "e30", "bm8=", "W10="])
def test_base64_that_holds_no_object_is_a_422(encoded: str) -> None:
    """Not base64, not padded, not JSON, not an object."""
    sent = issued()
    del sent["data"]
    assert refused(sent | {"data_base64": encoded}, 422)


def test_data_that_says_it_is_not_json_is_a_422() -> None:
    """The attribute is named."""
    assert refused(issued() | {"datacontenttype": "text/xml"}, 422) == {"/datacontenttype": "wrong_format"}
    accepted(issued() | {"datacontenttype": "application/vnd.x+json; charset=utf-8"})


def test_a_client_speaks_for_its_own_regies() -> None:
    """403 for another, even when the rest of the data is wrong; a client with `*` gets the faults."""
    assert refused(issued(regie="piscine", amount_cents=-1), 403) == {}
    assert refused(issued(regie="piscine", amount_cents=-1), 422, ANYONE) == {"/data/amount_cents": "out_of_range"}


def test_a_callback_s_body_is_base64_of_64_kib_at_most() -> None:
    """What a portal received itself is checked like what we receive."""
    said = {"regie": "enfance", "method": "POST"}
    accepted(event("gateway.callback", said | {"body": base64.b64encode(b"a=1").decode()}))
    assert refused(event("gateway.callback", said | {"body": "a=1"}), 422) == {"/data/body": "wrong_format"}
    large = base64.b64encode(bytes(65_537)).decode()
    assert refused(event("gateway.callback", said | {"body": large}), 422) == {"/data/body": "too_long"}
    nul = {"headers": {"x": "\x00"}}
    assert refused(event("gateway.callback", said | nul), 422) == {"/data/headers": "wrong_format"}
    number = {"headers": {"x/y": 1}}
    assert refused(event("gateway.callback", said | number), 422) == {"/data/headers/x~1y": "wrong_type"}
    assert refused(event("gateway.callback", said | {"method": "PUT"}), 422) == {"/data/method": "wrong_format"}


# Modes


BINARY = [("CE-SpecVersion", "1.0"), ("ce-id", "e-1"), ("ce-source", "/portail")]


def binary(kind: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """The headers of an event in binary mode."""
    return [*BINARY, ("ce-type", f"fr.lettrage.{kind}.v1"), *more]


@pytest.mark.parametrize("content_type", [PLAIN, "application/json; charset=UTF-8", "", "application/vnd.f+json"])
def test_binary_mode_is_the_same_event(content_type: str) -> None:
    """Attributes in headers, data in the body: the same content as in structured mode."""
    body = json.dumps(issued()["data"]).encode()
    found = accepted(read(content_type, binary("invoice.issued"), body))
    assert (found.id, found.source, found.digest) == ("e-1", "/portail", accepted(issued()).digest)


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("facture%20%C3%A9%25", "facture é%"),
        ('"a \\"quoted\\" name"', 'a "quoted" name'),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("é".encode().decode("utf-8", "surrogateescape"), "é"),
    ],
)
def test_header_values_are_percent_decoded_once(header: str, value: str) -> None:
    """As the HTTP binding writes them."""
    sent = read(PLAIN, binary("invoice.issued", ("ce-subject", header)), b"{}")
    assert isinstance(sent, dict)
    assert sent["subject"] == value


@pytest.mark.parametrize(
    "header", [("ce-subject", "%FF"), ("ce-subject", "\udcff"), ("ce-id", "other"), ("ce-data", "{}")]
)
def test_headers_that_cannot_be_understood_are_a_400(header: tuple[str, str]) -> None:
    """Not UTF-8, said twice, or reserved."""
    found = read(PLAIN, binary("invoice.issued", header), b"{}")
    assert isinstance(found, Problem)
    assert found.status == 400


def test_a_nul_in_a_header_is_a_400() -> None:
    """`%00` decodes to what no attribute may have."""
    headers = [*BINARY[:1], ("ce-id", "a%00"), BINARY[2], ("ce-type", "fr.lettrage.invoice.issued.v1")]
    assert refused(read(PLAIN, headers, b"{}"), 400) == {"/id": "wrong_format"}


def test_binary_mode_without_a_body_has_no_data() -> None:
    """Which these events need."""
    assert refused(read(PLAIN, binary("invoice.issued"), b""), 422) == {"/data": "missing"}


@pytest.mark.parametrize(
    ("content_type", "headers", "status"),
    [
        (PLAIN, [], 400),
        ("", [], 400),
        ("text/plain", [], 415),
        ("text/xml", BINARY, 415),
        ("application/x-www-form-urlencoded", [], 415),
        ("application/cloudevents+avro", [], 415),
        ("application/cloudevents-batch+avro", [], 415),
        (f"{STRUCTURED}; charset=iso-8859-1", [], 415),
    ],
)
def test_a_wrong_media_type_is_told_what_to_send(
    content_type: str, headers: list[tuple[str, str]], status: int
) -> None:
    """JSON without ce- headers is a 400, everything else a 415; each says what is understood."""
    found = read(content_type, headers, b"{}")
    assert isinstance(found, Problem)
    assert found.status == status
    assert "UTF-8" in found.detail or STRUCTURED in found.detail


def test_media_types_are_not_case_sensitive() -> None:
    """`Application/CloudEvents+JSON` is the same."""
    assert read("Application/CloudEvents+JSON ; Charset=UTF-8", [], b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not JSON",
        b"{'id': 1}",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": Infinity}',
        b'{"a": "\xff"}',
        b'{"a": "\\ud800"}',
        b'{"a": "\x01"}',
        b'{"a": 1} {}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b'{"id": "a", "id": "b"}',
        b'{"data": {"amount_cents": 1, "amount_cents": 2}}',
        b'{"\\u0069d": "a", "id": "b"}',
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
@pytest.mark.parametrize("content_type", [STRUCTURED, BATCH])
def test_what_is_not_json_is_a_400(body: bytes, content_type: str) -> None:
    """Cut off, not UTF-8, half a surrogate pair, nested beyond measure, or a member named twice."""
    found = read(content_type, [], body)
    assert isinstance(found, Problem)
    assert (found.status, found.type) == (400, "urn:lettrage:problem:not-json")
    assert found.detail


def test_a_member_named_twice_is_named() -> None:
    """So that whoever sent it finds it."""
    with pytest.raises(ValueError, match="'amount_cents' twice"):
        decoded(b'{"data": {"amount_cents": 1, "label": "x", "amount_cents": 1}}')


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_json_without_repetition_is_read_as_it_is(value: object) -> None:
    """No right document is taken for one that names a member twice, escapes and all."""
    assert decoded(json.dumps(value).encode()) == value
    assert decoded(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("content_type", "body"), [(STRUCTURED, b"[]"), (STRUCTURED, b"3"), (BATCH, b"{}"), (BATCH, b'"x"')]
)
def test_single_and_batch_are_not_mixed_up(content_type: str, body: bytes) -> None:
    """A list in structured mode, an object as a batch: 400, with the media type that would have been right."""
    found = read(content_type, [], body)
    assert isinstance(found, Problem)
    assert found.status == 400


@pytest.mark.parametrize(("count", "status"), [(1000, None), (1001, 413)])
def test_a_batch_has_a_thousand_events_at_most(count: int, status: int | None) -> None:
    """What one transaction takes."""
    found = read(BATCH, [], json.dumps([{}] * count).encode())
    assert (found.status if isinstance(found, Problem) else None) == status


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
_fields = st.sampled_from(
    ["regie", "number", "reference", "amount_cents", "invoices", "account", "means", "method", "body", "headers", "x"]
)
_data = st.dictionaries(_fields, _json | st.sampled_from(["enfance", "F-1", 1, 4250]), max_size=8)
_attributes = st.dictionaries(
    st.sampled_from(["specversion", "id", "source", "type", "time", "data", "data_base64", "subject", "ext"]),
    _json | _data,
)


@given(
    attributes=_attributes,
    data=_data,
    kind=st.sampled_from([kind.value for kind in EventType]),
)
def test_anything_gets_an_answer(attributes: dict[str, Any], data: dict[str, Any], kind: str) -> None:
    """Whatever JSON came as an event: an event or a problem, never an exception; a refused one says why."""
    right = {"specversion": "1.0", "id": "e", "source": "s", "type": kind, "data": data}
    for sent in (attributes, right, right | attributes):
        found = judged(sent, ANYONE)
        assert isinstance(found, NewEvent) or found.errors or found.detail


@given(st.binary(), st.sampled_from([STRUCTURED, BATCH, PLAIN, ""]), st.lists(st.tuples(st.text(), st.text())))
def test_any_bytes_get_an_answer(body: bytes, content_type: str, headers: list[tuple[str, str]]) -> None:
    """Whatever bytes and headers came: something to judge, or a problem."""
    found = read(content_type, [("ce-" + name, value) for name, value in headers], body)
    for each in found if isinstance(found, list) else [found]:
        assert isinstance(each, Problem) or isinstance(judged(each, ANYONE), NewEvent | Problem)


def test_an_invoice_s_date_is_a_date() -> None:
    """Not midnight in some zone."""
    found = accepted(issued(issued_on="2026-11-01"))
    assert isinstance(found.data, InvoiceIssued)
    assert found.data.issued_on is not None
    assert found.data.issued_on.isoformat() == "2026-11-01"
