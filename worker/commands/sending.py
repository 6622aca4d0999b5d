"""How `lettrage events send` reads CloudEvents from files and takes them to the API, in batches."""

import http.client
import json
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Final
from urllib.parse import SplitResult, urlsplit

BATCH: Final = "application/cloudevents-batch+json"
BATCH_EVENTS: Final = 1_000
"""What the API takes in one request, and its worker in one transaction."""
BATCH_BYTES: Final = 1_000_000
"""Under the API's 1 MiB, with room for commas and brackets."""
ANSWER_SECONDS: Final = 30.0
"""A batch takes milliseconds; a server that needs longer is as good as gone."""
UNREACHABLE_PAUSES_SECONDS: Final = (0.3, 1.0, 2.0)
"""A server that is started again answers within these."""
PATIENCE_SECONDS: Final = 60.0
"""How long in all a server may put one batch off before the person is told to come back."""

EVENTS: Final = "/v1/events"
ARCHIVE: Final = "/v1/events?archive=true"
"""Where an admin gives back what was stored, to be kept as it was."""

_decoder = json.JSONDecoder()
_space = re.compile(r"[\s]*")


@dataclass(frozen=True, slots=True)
class Found:
    """One JSON value of a file, as written there; `fault` when it is none, or can never be sent."""

    where: str
    raw: str
    id: str | None = None
    fault: str | None = None
    archived: bool = False
    """It says who first sent it: `lettrage events list` printed it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one event: the API's own words, or ours when it was not sent."""

    where: str
    answer: dict[str, Any]

    @property
    def status(self) -> str:
        """`accepted`, `duplicate`, `conflict` or `rejected`."""
        return str(self.answer.get("status", "rejected"))


class Unavailable(Exception):  # noqa: N818 (a state of the server's)
    """The server cannot take anything for now; the message says what it said."""


class Refused(Exception):  # noqa: N818 (its answer to all that was sent)
    """The server takes nothing from us at all; the message says why."""


def events_in(file: BinaryIO, name: str) -> Iterator[Found]:
    """The events of a JSON object, a JSON array or JSON lines.

    Lines are read one at a time, however many, and so is an array with an event a line.
    """
    number, first = _first_line(file)
    if first.strip() == "[":
        yield from _array_lines(file, name, number)
    elif _is_json_line(first):
        yield _found(first, f"{name}:{number}")
        for later, line in enumerate(file, number + 1):
            if line.strip():
                yield _found(_text(line), f"{name}:{later}")
    else:
        yield from _values(first + _text(file.read()), name, number)


def _array_lines(file: BinaryIO, name: str, first_line: int) -> Iterator[Found]:
    """The items of arrays that begin and end on lines of their own; from the first item that is no line, the rest."""
    number, bracket = first_line, "["
    for number, line in enumerate(file, first_line + 1):
        item = _text(line).strip().removesuffix(",")
        if _is_json_line(item):
            yield _found(item, f"{name}:{number}")
        elif item in {"[", "]"}:
            bracket = item
        elif item:
            yield from _values("[" + _text(line + file.read()), name, number)
            return
    if bracket == "[":
        yield Found(f"{name}:{number}", "", fault="not JSON: the list breaks off here")


def everyday(event: Found) -> Found:
    """An event to be sent as one's own; an archive's would be another client's fact told again, and count twice."""
    if not event.archived:
        return event
    return replace(event, fault="from an archive, under another client's name: `--archive` takes it back")


def batches(events: Iterable[Found]) -> Iterator[list[Found]]:
    """Events in batches that the API takes, in their order; one with a fault comes alone."""
    batch: list[Found] = []
    size = 0
    for event in events:
        room = len(event.raw.encode()) + 1
        if batch and (event.fault or len(batch) == BATCH_EVENTS or size + room > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        if event.fault:
            yield [event]
            continue
        batch.append(event)
        size += room
    if batch:
        yield batch


class Courier:
    """Takes batches to one API, waiting when it is asked to, each wait bounded. Sending twice is safe."""

    def __init__(
        self, url: str, token: str, sleep: Callable[[float], None] = time.sleep, *, target: str = EVENTS
    ) -> None:
        self._url = urlsplit(url)
        self._target = self._url.path.rstrip("/") + target
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": BATCH, "User-Agent": "lettrage"}
        self._sleep = sleep

    def deliver(self, batch: list[Found]) -> list[Result]:
        """One result each, in their order.

        Raises:
            Unavailable: the server did not take the batch in time.
            Refused: it takes nothing from us.
        """
        if batch[0].fault:
            return [_unsent(event, event.fault or "") for event in batch]
        body = f"[{','.join(event.raw for event in batch)}]".encode()
        status, answer = self._insist(body)
        if status in (http.HTTPStatus.UNAUTHORIZED, http.HTTPStatus.FORBIDDEN, http.HTTPStatus.NOT_FOUND):
            raise Refused(_said(status, answer))
        return _results(batch, status, answer)

    def _insist(self, body: bytes) -> tuple[int, Any]:
        """The server's answer that is not "later"."""
        patience = PATIENCE_SECONDS
        pauses = iter(UNREACHABLE_PAUSES_SECONDS)
        while True:
            try:
                status, answer, later = self._post(body)
            except (OSError, http.client.HTTPException) as error:
                why, pause = f"{self._url.netloc} does not answer: {_named(error)}", next(pauses, None)
            else:
                if status != http.HTTPStatus.TOO_MANY_REQUESTS and status < http.HTTPStatus.INTERNAL_SERVER_ERROR:
                    return status, answer
                why, pause = _said(status, answer), later
            if pause is None or pause > patience:
                raise Unavailable(why)
            patience -= pause
            self._sleep(pause)

    def _post(self, body: bytes) -> tuple[int, Any, float]:
        """Status, JSON answer, and the seconds after which to try again if it says later."""
        connection = _connection(self._url)
        try:
            connection.request("POST", self._target, body, self._headers)
            response = connection.getresponse()
            return response.status, _json(response.read()), _seconds(response.getheader("Retry-After"))
        finally:
            connection.close()


def _connection(url: SplitResult) -> http.client.HTTPConnection:
    host = url.hostname or ""
    if url.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, url.port, timeout=ANSWER_SECONDS, context=context)
    return http.client.HTTPConnection(host, url.port, timeout=ANSWER_SECONDS)


def _results(batch: list[Found], status: int, answer: Any) -> list[Result]:  # noqa: ANN401 (any JSON)
    results = answer.get("results") if isinstance(answer, dict) else None
    if status == http.HTTPStatus.ACCEPTED and isinstance(results, list) and len(results) == len(batch):
        return [Result(event.where, dict(result)) for event, result in zip(batch, results, strict=True)]
    return [_unsent(event, _said(status, answer)) for event in batch]


def _unsent(event: Found, why: str) -> Result:
    return Result(event.where, {"id": event.id, "status": "rejected", "problem": {"title": why}})


def _said(status: int, answer: Any) -> str:  # noqa: ANN401 (any JSON)
    problem = answer if isinstance(answer, dict) else {}
    said = [problem.get("title"), problem.get("detail")]
    return f"HTTP {status}" + "".join(f": {part}" for part in said if part)


def _named(error: Exception) -> str:
    return str(error) or type(error).__name__


def _json(body: bytes) -> Any:  # noqa: ANN401 (any JSON)
    try:
        return json.loads(body)
    except ValueError:
        return None


def _seconds(retry_after: str | None) -> float:
    """What the server asks for; a second when it does not say, or says a date."""
    return float(retry_after) if retry_after and retry_after.isascii() and retry_after.isdigit() else 1.0


def _text(data: bytes) -> str:
    return data.decode("utf-8-sig", "replace")


def _first_line(file: BinaryIO) -> tuple[int, str]:
    """The first line with anything on it, and its number; an empty one when there is none."""
    for number, line in enumerate(file, 1):
        if _text(line).strip():
            return number, _text(line)
    return 0, ""


def _is_json_line(line: str) -> bool:
    """Whether the line is one whole object, so that each of the others is one too."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _found(line: str, where: str) -> Found:
    try:
        return _checked(json.loads(line), line.strip(), where)
    except (ValueError, RecursionError) as error:
        return Found(where, line, fault=f"not JSON: {error}")


def _values(content: str, name: str, first_line: int) -> Iterator[Found]:
    """The items of an array, or values one after the other, as they stand in the text."""
    at = _after_space(content, 0)
    in_array = content[at : at + 1] == "["
    at = _after_space(content, at + 1) if in_array else at
    while at < len(content) and not (in_array and content[at] == "]"):
        where = f"{name}:{first_line + content.count(chr(10), 0, at)}"
        try:
            value, end = _decoder.raw_decode(content, at)
        except (ValueError, RecursionError) as error:
            yield Found(where, "", fault=f"not JSON: {error}")
            return
        yield _checked(value, content[at:end], where)
        at = _after_space(content, end)
        if in_array and content[at : at + 1] == ",":
            at = _after_space(content, at + 1)


def _after_space(content: str, at: int) -> int:
    match = _space.match(content, at)
    return match.end() if match else at


def _checked(value: object, raw: str, where: str) -> Found:
    if not isinstance(value, dict):
        return Found(where, raw, fault="not an event: a JSON object is wanted")
    event_id = value.get("id") if isinstance(value.get("id"), str) else None
    too_large = len(raw.encode("utf-8", "replace")) > BATCH_BYTES
    fault = "larger than the API takes (1 MiB)" if too_large else None
    return Found(where, raw, event_id, fault, archived="lettrageclient" in value)
