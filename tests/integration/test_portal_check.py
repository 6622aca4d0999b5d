"""`lettrage portal check` against real little portals: a right one, and ones that are wrong in every way we know of."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import select
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner
from standardwebhooks import Webhook, WebhookVerificationError

from tests.installation import LETTRAGE, free_port
from worker.cli import main
from worker.conformance.check import LOWER, Trial
from worker.conformance.finding import Finding, Result
from worker.conformance.portal import Patience, Portal, UnreachableError
from worker.conformance.samples import LARGE_BYTES, Samples

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
QUICK = Patience(answer=20, shown=1.0, steady=0.15, poll=0.02)
SURE = Patience(answer=20, shown=20, steady=0.3, poll=0.02)
"""For a portal that is right: on a busy machine nothing may look like a fault."""
FIRST_VERSION = 1_700_000_000
ALL = {
    *("valid", "shown", "two_signatures", "unknown_signature_version", "signed_bytes", "duplicate", "unknown_type"),
    *("unknown_field", "discrepancy_opened", "discrepancy_resolved", "unknown_invoice", "large", "out_of_order"),
    *("replayed_late", "highest_version_wins", "at_once", "highest_version_wins_at_once", "unsigned", "wrong_secret"),
    *("changed_body", "changed_id", "changed_time", "old_timestamp", "future_timestamp", "forgeries_change_nothing"),
}
FORGERIES = {
    "unsigned",
    "wrong_secret",
    "changed_body",
    "changed_id",
    "changed_time",
    "old_timestamp",
    "future_timestamp",
}
SEEN_ALONE = {"shown", "highest_version_wins", "highest_version_wins_at_once", "forgeries_change_nothing"}
"""What no answer tells."""


@dataclass
class LittlePortal:
    """A portal that does everything as it should, but for one fault."""

    fault: str = ""
    invoices: dict[str, dict[str, Any]] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    busy: int = 0
    met: bool = False
    requests: int = 0
    url: str = ""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def take(self, request: web.Request) -> web.Response:
        """A notification."""
        self.requests += 1
        body = await request.read()
        self.busy += 1
        try:
            return web.Response(status=await self._status(request, body))
        finally:
            self.busy -= 1

    async def _status(self, request: web.Request, body: bytes) -> int:
        if self.fault.isdigit():
            return int(self.fault)
        if self.fault == "hangs":
            await asyncio.sleep(60)
        if self.fault == "breaks" and request.transport is not None:
            request.transport.abort()
        if not self._is_believed(dict(request.headers), body):
            if self.fault == "applies before it verifies":
                self._apply(json.loads(body)["data"])
            return {"takes everything and ignores forgeries": 204, "fails on forgeries": 500}.get(self.fault, 401)
        told = json.loads(body)
        if (wrong := self._wrong_status(request.headers["webhook-id"], told, body)) is not None:
            return wrong
        self.ids.add(request.headers["webhook-id"])
        if self.fault == "one at a time":
            await asyncio.sleep(0.05)
            if self.busy > 1:
                return 503
        if told["type"].startswith("invoice."):
            await self._keep(told["data"])
        return 204

    def _wrong_status(self, webhook_id: str, told: dict[str, Any], body: bytes) -> int | None:
        data = told["data"]
        known = self.invoices.get(str(data.get("number")))
        age = datetime.now(UTC) - datetime.fromisoformat(told["timestamp"])
        wrong = {
            "fails on duplicates": 500 if webhook_id in self.ids else None,
            "refuses lower versions": 409 if known and known["version"] > data.get("version", 0) else None,
            "refuses unknown types": None if told["type"].startswith(("invoice.", "discrepancy.")) else 400,
            "refuses unknown fields": 422 if "from_a_later_version" in data else None,
            "fails on discrepancies": 500 if "number" not in data and told["type"].startswith("discrepancy.") else None,
            "refuses unknown invoices": 404 if str(data.get("number")).endswith("UNKNOWN") else None,
            "refuses large ones": 413 if len(body) > 16_384 else None,
            "judges the body's time": 400 if age > timedelta(minutes=5) else None,
        }
        return wrong.get(self.fault)

    async def _keep(self, data: dict[str, Any]) -> None:
        if self.fault == "answers first":
            task = asyncio.create_task(self._later(data))
            self.tasks.add(task)
        elif self.fault == "reads, then writes":
            version = self.invoices.get(data["number"], {}).get("version", 0)
            await self._meet()
            await asyncio.sleep(0.1 if data["state"] == "in_payment" else 0)
            if data["version"] > version:
                self.invoices[data["number"]] = data
        else:
            self._apply(data)

    async def _meet(self) -> None:
        """Wait for what comes at the same time, however slow the machine: all have read before any writes."""
        await asyncio.sleep(0.15)
        end = time.monotonic() + 3
        while self.busy > 1 and not self.met and time.monotonic() < end:
            self.met = self.busy > len(LOWER)
            await asyncio.sleep(0.01)

    async def _later(self, data: dict[str, Any]) -> None:
        await asyncio.sleep(0.2)
        self._apply(data)

    def _apply(self, data: dict[str, Any]) -> None:
        newer = data["version"] > self.invoices.get(data["number"], {}).get("version", 0)
        if newer or self.fault == "the last one wins":
            self.invoices[data["number"]] = data

    def _is_believed(self, headers: dict[str, str], body: bytes) -> bool:
        if self.fault == "believes everybody":
            return True
        if self.fault in _SIGNS:
            return any(hmac.compare_digest(part, self._expected(headers, body)) for part in _signatures(headers))
        if self.fault == "verifies what it wrote again":
            body = json.dumps(json.loads(body), separators=(",", ":"), ensure_ascii=False).encode()
        if self.fault == "knows one signature" and len(_signatures(headers)) > 1:
            return False
        try:
            Webhook(SECRET).verify(body, headers)
        except WebhookVerificationError:
            return False
        return True

    def _expected(self, headers: dict[str, str], body: bytes) -> str:
        """What this portal takes for a signature; it looks at no clock."""
        key, content = _SIGNS[self.fault](headers.get("webhook-id", ""), headers.get("webhook-timestamp", ""), body)
        return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()

    async def show(self, request: web.Request) -> web.Response:
        """The state of an invoice."""
        if self.fault == "shows a page":
            return web.Response(text="<html>")
        known = self.invoices.get(request.match_info["number"])
        if known is None or self.fault == "shows nothing":
            return web.Response(status=404)
        told = {"state": known["state"]} if self.fault == "keeps no version" else known
        return web.json_response(told)


_SIGNS: dict[str, Any] = {
    "looks at no clock": lambda i, t, body: (KEY, f"{i}.{t}.".encode() + body),
    "takes the whole secret": lambda i, t, body: (SECRET.encode(), f"{i}.{t}.".encode() + body),
    "does not decode": lambda i, t, body: (SECRET.removeprefix("whsec_").encode(), f"{i}.{t}.".encode() + body),
    "signs the body alone": lambda _i, _t, body: (KEY, body),
    "leaves the id out": lambda _i, t, body: (KEY, f"{t}.".encode() + body),
    "has another secret": lambda i, t, body: (KEY[::-1], f"{i}.{t}.".encode() + body),
}


def _signatures(headers: dict[str, str]) -> list[str]:
    return headers.get("webhook-signature", "").split(" ")


@asynccontextmanager
async def open_portal(fault: str = "") -> AsyncIterator[LittlePortal]:
    """A portal on this machine."""
    portal = LittlePortal(fault)
    application = web.Application(client_max_size=2 * LARGE_BYTES)
    application.router.add_post("/hook", portal.take)
    application.router.add_get("/state/{regie}/{number}", portal.show)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    portal.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield portal
    finally:
        await runner.cleanup()


async def tried(
    portal: LittlePortal, patience: Patience = QUICK, *, state: str | None = "{portal}/state/{regie}/{number}"
) -> dict[str, Finding]:
    """Everything found about a portal, by name."""
    seen = Portal(f"{portal.url}/hook", patience, state and state.replace("{portal}", portal.url))
    try:
        samples = Samples("enfance", "F/0042 é", "0123abcd", FIRST_VERSION)
        found = [finding async for finding in Trial(seen, SECRET, samples).findings()]
    finally:
        await seen.close()
    assert len({finding.name for finding in found}) == len(found)
    assert all(finding.mend for finding in found if finding.result is not Result.OK)
    return {finding.name: finding for finding in found}


def faults(found: dict[str, Finding]) -> set[str]:
    """The names of what was wrong."""
    return {name for name, finding in found.items() if finding.result is Result.FAULT}


@pytest.mark.parametrize("how", ["", "answers first", "keeps no version"])
async def test_a_right_portal_conforms(how: str) -> None:
    """Everything is checked and nothing is wrong, whether it works before or after its answer, with versions or not."""
    async with open_portal(how) as portal:
        found = await tried(portal, SURE)
    assert found.keys() == ALL
    assert {finding.result for finding in found.values()} == {Result.OK}


async def test_what_nobody_looked_at_is_said() -> None:
    """Without a state URL answers alone are judged; the rest is unchecked, never ok."""
    async with open_portal() as portal:
        found = await tried(portal, state=None)
    assert found.keys() == ALL
    assert {name for name, finding in found.items() if finding.result is Result.UNCHECKED} == SEEN_ALONE
    assert not faults(found)
    assert all("--state-url" in found[name].mend for name in SEEN_ALONE)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("believes everybody", FORGERIES | {"forgeries_change_nothing"}),
        ("takes everything and ignores forgeries", FORGERIES),
        ("fails on forgeries", FORGERIES),
        ("applies before it verifies", {"forgeries_change_nothing"}),
        ("looks at no clock", {"old_timestamp", "future_timestamp", "forgeries_change_nothing"}),
        ("knows one signature", {"two_signatures", "unknown_signature_version"}),
        ("verifies what it wrote again", {"signed_bytes"}),
        ("fails on duplicates", {"duplicate"}),
        ("the last one wins", {"highest_version_wins"}),
        ("refuses lower versions", {"out_of_order", "replayed_late", "at_once"}),
        ("reads, then writes", {"highest_version_wins_at_once"}),
        ("judges the body's time", {"replayed_late"}),
        ("refuses unknown types", {"unknown_type"}),
        ("refuses unknown fields", {"unknown_field", "large"}),
        ("fails on discrepancies", {"discrepancy_opened", "discrepancy_resolved"}),
        ("refuses unknown invoices", {"unknown_invoice"}),
        ("refuses large ones", {"large"}),
        ("one at a time", {"at_once"}),
    ],
)
async def test_a_fault_is_named(fault: str, expected: set[str]) -> None:
    """That one and no other, each with what to do."""
    async with open_portal(fault) as portal:
        found = await tried(portal)
    assert found.keys() == ALL
    assert faults(found) - _may_be(fault) == expected - _may_be(fault)
    unchecked = {name for name, finding in found.items() if finding.result is Result.UNCHECKED}
    assert unchecked == ({"highest_version_wins_at_once"} if "at_once" in faults(found) else set())


def _may_be(fault: str) -> set[str]:
    """What depends on the order in which things that were sent at the same time arrive."""
    chance = {
        "the last one wins": {"highest_version_wins_at_once"},
        "refuses lower versions": {"at_once"},
    }
    return chance.get(fault, set())


@pytest.mark.parametrize(
    ("fault", "said", "mend"),
    [
        ("302", "answered 302", "redirects are not followed"),
        ("404", "answered 404", "the address that takes notifications"),
        ("410", "answered 410", "nothing more is to be sent"),
        ("500", "answered 500", "its log says why"),
        ("401", "answered 401", "same secret on both sides"),
        ("breaks", "broke the connection", "before the work"),
        ("has another secret", "answered 401", "same secret on both sides"),
        ("takes the whole secret", "answered 401", "takes the whole secret as the key"),
        ("does not decode", "answered 401", "takes what stands after whsec_ as the key"),
        ("signs the body alone", "answered 401", "signs the body alone"),
        ("leaves the id out", "answered 401", "leaves webhook-id out"),
    ],
)
async def test_who_takes_nothing_is_told_why(fault: str, said: str, mend: str) -> None:
    """The mistake is named where it can be found out, and nothing else is held against the portal."""
    async with open_portal(fault) as portal:
        found = await tried(portal)
    assert list(found) == ["valid", "the_rest"]
    assert faults(found) == {"valid"}
    assert said in found["valid"].what
    assert mend in found["valid"].mend


async def test_who_hangs_is_waited_for_once() -> None:
    """One notification, one bounded wait."""
    async with open_portal("hangs") as portal:
        found = await tried(portal, Patience(answer=0.3))
        assert portal.requests == 1
    assert faults(found) == {"valid"}
    assert "did not answer within 0.3 s" in found["valid"].what
    assert Patience().answer == 15


@pytest.mark.parametrize(
    ("fault", "state", "said"),
    [
        ("shows nothing", "{portal}/state/{regie}/{number}", "answered 404"),
        ("shows a page", "{portal}/state/{regie}/{number}", "something else"),
        ("", "http://127.0.0.1:{free}/{number}", "does not answer"),
    ],
)
async def test_a_state_url_that_says_nothing_is_a_fault_once(fault: str, state: str, said: str) -> None:
    """What it would have told is unchecked; what answers tell is judged all the same."""
    async with open_portal(fault) as portal:
        found = await tried(portal, state=state.replace("{free}", str(free_port())))
    assert faults(found) == {"shown"}
    assert said in found["shown"].what
    assert {name for name, finding in found.items() if finding.result is Result.UNCHECKED} == SEEN_ALONE - {"shown"}


async def test_where_nobody_listens_there_is_no_portal() -> None:
    """That is no finding about a portal."""
    with pytest.raises(UnreachableError, match="Connection refused"):
        await tried(LittlePortal(url=f"http://127.0.0.1:{free_port()}"))


async def test_who_takes_no_connection_is_not_there() -> None:
    """A full queue answers nothing: that is waited for, not for ever."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        crowd = [socket.socket() for _ in range(3)]
        for each in crowd:
            each.settimeout(0)
            each.connect_ex(deaf.getsockname())
        try:
            with pytest.raises(UnreachableError, match="no connection within"):
                await tried(LittlePortal(url=f"http://127.0.0.1:{deaf.getsockname()[1]}"), Patience(connect=0.3))
        finally:
            for each in crowd:
                each.close()


async def lettrage(*args: str, **environ: str) -> tuple[int, str, str]:
    """Run the command beside this process's portal."""
    process = await asyncio.create_subprocess_exec(
        *LETTRAGE,
        *("portal", "check", *args),
        env={**os.environ, **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_command_says_that_a_portal_conforms() -> None:
    """Exit code 0; one JSON document, without the secret."""
    async with open_portal() as portal:
        state = f"{portal.url}/state/{{regie}}/{{number}}"
        code, out, err = await lettrage(
            *(f"{portal.url}/hook", "--secret", "env:KEPT", "--state-url", state, "--json"), KEPT=SECRET
        )
    told = json.loads(out)
    assert (code, err, told["conforms"]) == (0, "", True)
    assert {finding["name"] for finding in told["findings"]} == ALL
    assert "whsec_" not in out
    assert all(number.startswith("LETTRAGE-CHECK-") or number.endswith("-UNKNOWN") for number in portal.invoices)


async def test_the_command_says_what_is_wrong_and_what_to_do(tmp_path: Any) -> None:  # noqa: ANN401 (pytest's path)
    """Exit code 1; a line for each thing, and how many were not checked."""
    (tmp_path / "key").write_text(SECRET + "\n")
    async with open_portal("fails on duplicates") as portal:
        code, out, err = await lettrage(
            *(f"{portal.url}/hook", "--secret", f"file:{tmp_path / 'key'}", "--number", "F-1", "--regie", "enfance")
        )
    assert code == 1
    assert "FAULT      duplicate: answered 500 when the same notification came a second time\n           -> " in out
    assert err == f"Faults: 1. Not checked: {len(SEEN_ALONE)}.\n"
    assert set(portal.invoices) - {"F-1"} == {number for number in portal.invoices if number.endswith("-UNKNOWN")}


async def test_the_command_asks_to_try_later_where_nobody_listens() -> None:
    """Exit code 75."""
    url = f"http://127.0.0.1:{free_port()}/"
    code, out, err = await lettrage(url, "--secret", "env:KEPT", KEPT=SECRET)
    assert (code, out) == (75, "")
    assert "Nobody listens at that address" in err


async def test_the_secret_is_asked_for_on_a_terminal_and_not_shown() -> None:
    """Typed without an echo, as a password is; then it is used."""
    keyboard, terminal = os.openpty()
    process = await asyncio.create_subprocess_exec(
        *(*LETTRAGE, "portal", "check", f"http://127.0.0.1:{free_port()}/"),
        stdin=terminal,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    asked = await process.stderr.readuntil(b": ")
    os.write(keyboard, f"{SECRET}\n".encode())
    out, err = await process.communicate()
    echoed = os.read(keyboard, 1000) if select.select([keyboard], [], [], 0)[0] else b""
    for end in (keyboard, terminal):
        os.close(end)
    assert asked == b"The portal's webhook secret: "
    assert process.returncode == 75, err
    assert SECRET.encode() not in out + err + echoed


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("ftp://x/", "--secret", "env:KEPT"), "not an address"),
        (("http://127.0.0.1/", "--secret", SECRET), "say where it is, env:NAME or file:PATH"),
        (("http://127.0.0.1/", "--secret", "env:ABSENT"), "'ABSENT' is not set"),
        (("http://127.0.0.1/", "--secret", "file:/nowhere"), "cannot be read"),
        (("http://127.0.0.1/", "--secret", "env:WRONG"), "not whsec_"),
        (("http://127.0.0.1/", "--secret", "env:EMPTY"), "not whsec_"),
        (("http://127.0.0.1/",), "Say where the secret is"),
        (("http://127.0.0.1/", "--secret", "env:KEPT", "--state-url", "http://127.0.0.1/state"), "no {number}"),
        (("http://127.0.0.1/", "--secret", "env:KEPT", "--state-url", "nowhere/{number}"), "not an address"),
    ],
)
def test_what_is_mistyped_is_told(args: tuple[str, ...], said: str) -> None:
    """Exit code 2, before anything is sent; a secret that was typed is not repeated."""
    environ = {"KEPT": SECRET, "WRONG": "whsec_not base64!", "EMPTY": "whsec_"}
    result = CliRunner().invoke(main, ["portal", "check", *args], env=environ)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert SECRET not in result.output
    assert "not base64!" not in result.output
