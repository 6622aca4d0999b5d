"""How events are read from files and taken to the API: every form, every answer, no waiting for ever."""

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from worker.commands.sending import (
    BATCH_BYTES,
    BATCH_EVENTS,
    PATIENCE_SECONDS,
    Courier,
    Found,
    Refused,
    Unavailable,
    batches,
    events_in,
    everyday,
)


def read(content: bytes | str) -> list[Found]:
    """What is found in a file with that content."""
    data = content.encode() if isinstance(content, str) else content
    return list(events_in(io.BytesIO(data), "file"))


ONE = '{"id": "1"}'
TWO = '{"id": "2"}'


@pytest.mark.parametrize(
    "content",
    [
        f"{ONE}\n{TWO}\n",
        f"{ONE}\r\n{TWO}",
        f"\n\n{ONE}\n\n{TWO}\n\n",
        f"[{ONE}, {TWO}]",
        f"[\n  {ONE},\n  {TWO}\n]\n",
        f"{ONE}{TWO}",
        '{\n"id": "1"\n}\n{\n"id":\n"2"\n}',
        b"\xef\xbb\xbf" + f"{ONE}\n{TWO}\n".encode(),
    ],
)
def test_an_object_an_array_and_lines_are_all_events(content: bytes | str) -> None:
    """JSON lines, an array, objects one after the other, however they are spaced."""
    found = read(content)
    assert [event.id for event in found] == ["1", "2"]
    assert all(event.fault is None for event in found)


def test_a_single_object_may_take_many_lines() -> None:
    """What an editor or `jq .` writes."""
    assert [event.id for event in read(json.dumps({"id": "1", "data": {"a": [1, 2]}}, indent=2))] == ["1"]


@pytest.mark.parametrize("content", ["", "\n\n", "[]", " [ ] "])
def test_nothing_is_no_event(content: str) -> None:
    """An empty file is sent in no time."""
    assert read(content) == []


def test_what_stands_in_the_file_is_what_is_sent() -> None:
    """Not a JSON that we wrote anew: 1.0 stays 1.0, a member named twice stays for the API to refuse."""
    raw = '{"id": "1", "data": {"a": 1.0, "a": 2, "é": "\\u00e9"}}'
    assert [event.raw for event in read(raw)] == [raw]
    assert [event.raw for event in read(f"[{raw}]")] == [raw]


def test_a_broken_line_is_told_and_the_others_are_sent() -> None:
    """With its place in the file."""
    first, broken, last = read(f'{ONE}\n{{"id": \n{TWO}\n')
    assert (first.fault, last.fault) == (None, None)
    assert broken.where == "file:2"
    assert "not JSON" in (broken.fault or "")


def test_what_follows_a_fault_in_an_array_is_not_guessed() -> None:
    """The place is told; nobody knows where the next event would begin."""
    found = read(f"[\n{ONE},\n{{oops}},\n{TWO}]")
    assert [event.id for event in found] == ["1", None]
    assert found[1].where == "file:3"


@pytest.mark.parametrize("content", ["1", '"text"', f"[{ONE}, 1]", "[[1]]", "null"])
def test_what_is_no_object_is_no_event(content: str) -> None:
    """It is told, not sent."""
    assert "object" in (read(content)[-1].fault or "")


def test_an_event_above_the_limit_is_not_sent() -> None:
    """The API would refuse the whole request."""
    assert "1 MiB" in (read(json.dumps({"id": "1", "data": "x" * BATCH_BYTES}))[0].fault or "")


def test_a_deeply_nested_event_is_a_fault_not_a_crash() -> None:
    """A file is somebody else's."""
    assert "not JSON" in (read('{"id": ' + "[" * 200_000)[0].fault or "")


def test_batches_keep_order_and_limits() -> None:
    """Up to 1,000 events and under 1 MiB in each; one with a fault comes alone, in its place."""
    small = [Found(f"f:{n}", "{}", str(n)) for n in range(2 * BATCH_EVENTS + 1)]
    assert [len(batch) for batch in batches(small)] == [BATCH_EVENTS, BATCH_EVENTS, 1]
    large = [Found("f", "x" * (BATCH_BYTES // 3)) for _ in range(5)]
    assert [len(batch) for batch in batches(large)] == [2, 2, 1]
    faulty = Found("f", "", fault="not JSON")
    assert list(batches([small[0], faulty, small[1]])) == [[small[0]], [faulty], [small[1]]]
    assert list(batches([])) == []


class Answers(ThreadingHTTPServer):
    """An API that gives prepared answers, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.prepared: list[tuple[int, dict[str, str], bytes]] = []
        self.asked: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, dict(self.headers), body))
        status, headers, answer = self.server.prepared.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def api() -> Iterator[Answers]:
    """An API with prepared answers."""
    with Answers() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class Sleeps:
    """Sleeping that takes no time and is remembered."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        """Remember it."""
        self.seconds.append(seconds)


def results(*statuses: str) -> bytes:
    """The API's answer to a batch."""
    return json.dumps({"results": [{"id": str(n), "status": s} for n, s in enumerate(statuses)]}).encode()


PAIR = [Found("f:1", ONE, "1"), Found("f:2", TWO, "2")]


def test_a_batch_is_one_request_with_the_token_in_a_header(api: Answers) -> None:
    """One result each, in their order, as the API said it."""
    api.prepared = [(202, {}, results("accepted", "duplicate"))]
    told = Courier(api.url + "/", "hunter2", Sleeps()).deliver(PAIR)
    assert [(result.where, result.status) for result in told] == [("f:1", "accepted"), ("f:2", "duplicate")]
    path, headers, body = api.asked[0]
    assert path == "/v1/events"
    assert headers["Authorization"] == "Bearer hunter2"
    assert headers["Content-Type"] == "application/cloudevents-batch+json"
    assert json.loads(body) == [{"id": "1"}, {"id": "2"}]


@pytest.mark.parametrize("status", [429, 503, 500, 502])
def test_a_server_that_says_later_is_asked_again_when_it_says(api: Answers, status: int) -> None:
    """Retry-After is kept to; without one, a second."""
    later = (status, {"Retry-After": "7"}, b"")
    api.prepared = [later, (status, {}, b""), (202, {}, results("accepted", "accepted"))]
    sleeps = Sleeps()
    told = Courier(api.url, "t", sleeps).deliver(PAIR)
    assert [result.status for result in told] == ["accepted", "accepted"]
    assert sleeps.seconds == [7.0, 1.0]


def test_waiting_is_bounded(api: Answers) -> None:
    """A server that keeps saying later is left; the person decides when to come back."""
    api.prepared = [(503, {"Retry-After": "20"}, b'{"title": "Too busy"}')] * 10
    sleeps = Sleeps()
    with pytest.raises(Unavailable, match="Too busy"):
        Courier(api.url, "t", sleeps).deliver(PAIR)
    assert sum(sleeps.seconds) <= PATIENCE_SECONDS


def test_a_long_wait_is_not_begun(api: Answers) -> None:
    """An hour of Retry-After is the person's to wait, not ours."""
    api.prepared = [(429, {"Retry-After": "3600"}, b"")]
    sleeps = Sleeps()
    with pytest.raises(Unavailable):
        Courier(api.url, "t", sleeps).deliver(PAIR)
    assert sleeps.seconds == []


def test_a_server_that_is_not_there_is_tried_a_few_times() -> None:
    """Long enough for one that is started again."""
    sleeps = Sleeps()
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 does not answer"):
        Courier("http://127.0.0.1:9", "t", sleeps).deliver(PAIR)
    assert len(sleeps.seconds) == 3


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_server_that_refuses_us_is_not_asked_again(api: Answers, status: int) -> None:
    """A wrong token or a wrong address does not get better by waiting."""
    api.prepared = [(status, {}, b'{"title": "No", "detail": "because"}')]
    sleeps = Sleeps()
    with pytest.raises(Refused, match=f"HTTP {status}: No: because"):
        Courier(api.url, "t", sleeps).deliver(PAIR)
    assert sleeps.seconds == []


@pytest.mark.parametrize(
    "answer",
    [(400, b'{"title": "Not JSON"}'), (202, b"<html>"), (202, b'{"results": []}'), (200, b"{}")],
)
def test_an_answer_that_is_not_the_apis_accepts_nothing(api: Answers, answer: tuple[int, bytes]) -> None:
    """A proxy's page, or fewer results than events: each is rejected, none is thought stored."""
    api.prepared = [(answer[0], {}, answer[1])]
    told = Courier(api.url, "t", Sleeps()).deliver(PAIR)
    assert [(result.status, result.answer["id"]) for result in told] == [("rejected", "1"), ("rejected", "2")]


def test_a_fault_is_told_without_asking() -> None:
    """No server is needed to know it."""
    told = Courier("http://127.0.0.1:9", "t", Sleeps()).deliver([Found("f:3", "", fault="not JSON")])
    assert [(result.where, result.status) for result in told] == [("f:3", "rejected")]


def test_an_array_with_an_event_a_line_is_read_line_by_line() -> None:
    """So that an archive of any length fits: nothing is read beyond the line that is wanted."""
    file = io.BytesIO(f"[\n{ONE},\n{TWO}\n]\n".encode())
    found = events_in(file, "file")
    assert next(found) == Found("file:2", ONE, "1")
    assert file.readline() == f"{TWO}\n".encode()


@pytest.mark.parametrize(
    "content",
    [
        f'[\n{ONE},\n{{\n"id": "2"\n}}\n]',
        f"[\n{ONE}, {TWO}\n]",
        f"[\n{ONE}\n,\n{TWO}\n]",
        f"[\n{ONE}\n]\n[\n{TWO}\n]\n",
    ],
)
def test_an_array_may_be_written_in_any_way(content: str) -> None:
    """Events over several lines, several on a line, two arrays one after the other."""
    found = read(content)
    assert [(event.id, event.fault) for event in found] == [("1", None), ("2", None)]


@pytest.mark.parametrize("end", ['{"id": "2', "", "\n\n"])
def test_an_array_that_breaks_off_says_where(end: str) -> None:
    """What was whole is sent, and nobody takes half an archive for all of it."""
    whole, broken = read(f"[\n{ONE},\n{end}")
    assert (whole.id, whole.fault) == ("1", None)
    assert broken.where in {"file:2", "file:3", "file:4"}
    assert broken.fault is not None


def test_what_an_archive_says_of_its_client_is_not_sent_as_one_s_own() -> None:
    """It names the option that takes it; others' events are what they were."""
    archived, own = (everyday(event) for event in read('{"id": "1", "lettrageclient": "portail"}\n{"id": "2"}'))
    assert archived.fault is not None
    assert "--archive" in archived.fault
    assert own == Found("file:2", '{"id": "2"}', "2")
