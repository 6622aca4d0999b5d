"""The trial: each thing that docs/integrate.md asks of a portal, tried, and what the portal did wrong in words.

First whether it takes what is right at all; without that nothing else can be told. Then everything that it must take,
and in the end what it must refuse: a portal that believes a forgery may show it from then on.
"""

import asyncio
import base64
import hmac
import random
import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

from schemas.records import DiscrepancyState, InvoiceState
from worker.conformance.finding import Finding, fault, ok, unchecked
from worker.conformance.portal import Answer, Portal, Shown
from worker.conformance.samples import LARGE_BYTES, LATE, Sample, Samples
from worker.portals.signing import PREFIX, signed_headers

TOLERANCE_SECONDS: Final = 300
"""How far from now a timestamp may be; docs/integrate.md's."""
STALE_SECONDS: Final = 3600
"""Far outside of that, whatever the clocks."""
FORGED_AHEAD: Final = 1000
"""By how many versions a forgery is higher than the truth: whoever believes it shows it."""
LOWER: Final = (InvoiceState.PAYABLE, *(InvoiceState.IN_PAYMENT, InvoiceState.PAID) * 3)
"""What is sent at the same time as a higher version, in any order: mostly other states than its own."""

Request = tuple[dict[str, str], bytes]

_GIVE_A_STATE_URL: Final = "give --state-url, where the portal tells what it shows of an invoice"


class Trial:
    """A portal's trial with its own secret; `findings` does it, once."""

    def __init__(self, portal: Portal, secret: str, samples: Samples) -> None:
        self._portal = portal
        self._secret = secret
        self._samples = samples
        self._shows = portal.shows

    async def findings(self) -> AsyncGenerator[Finding]:
        """Everything found, as it is found.

        Raises:
            UnreachableError: there is no portal at that address.
        """
        sample = self._samples.invoice(InvoiceState.PAYABLE)
        answer = await self._send(sample)
        if not answer.accepted:
            yield fault("valid", f"{answer}: a notification that is right", await self._why_refused(answer))
            yield unchecked("the_rest", "nothing more can be told of a portal that takes nothing", "mend that first")
            return
        yield ok("valid", f"{answer} after {answer.milliseconds} ms")
        yield await self._is_shown(sample)
        for part in (self._must_be_taken, self._versions, self._must_be_refused):
            async with aclosing(part()) as found:
                async for finding in found:
                    yield finding

    async def _must_be_taken(self) -> AsyncGenerator[Finding]:
        other = _other_secret()
        sample = self._samples.invoice(InvoiceState.IN_PAYMENT)
        both = signed_headers((other, self._secret), sample.id, int(time.time()), sample.body)
        yield await self._taken(
            "two_signatures",
            (both, sample.body),
            "while a secret is replaced there are two signatures, separated by a space: one that verifies is enough",
        )
        sample = self._samples.invoice(InvoiceState.PAYABLE)
        signed = self._signed(sample)
        newer = {**signed, "webhook-signature": f"v1a,bm90IG91cnM= {signed['webhook-signature']}"}
        yield await self._taken(
            "unknown_signature_version", (newer, sample.body), "skip signatures that do not begin with `v1,`"
        )
        yield await self._taken_sample(
            "signed_bytes",
            self._samples.spelled_otherwise(InvoiceState.PAID),
            "verify over the body's bytes as they came, before any JSON is read or written again",
        )
        yield await self._duplicate()
        yield await self._taken_sample(
            "unknown_type",
            self._samples.of_type("sample.unknown"),
            "answer 2xx to a type that you do not know, ignore it",
        )
        yield await self._taken_sample(
            "unknown_field",
            self._samples.invoice(InvoiceState.PAYABLE, from_a_later_version={"a": [1]}),
            "ignore fields that you do not know: later versions may have more",
        )
        for state in (DiscrepancyState.OPEN, DiscrepancyState.RESOLVED):
            yield await self._taken_sample(
                "discrepancy_opened" if state is DiscrepancyState.OPEN else "discrepancy_resolved",
                self._samples.discrepancy(state),
                "`discrepancy.…` has the discrepancy as data, without number and version: take or ignore it, with 2xx",
            )
        yield await self._taken_sample(
            "unknown_invoice",
            self._samples.invoice(InvoiceState.PAYABLE, number=f"{self._samples.run}-UNKNOWN"),
            "answer 2xx for an invoice that you do not know, keep or ignore it: else it is sent again for days",
        )
        yield await self._taken_sample(
            "large",
            self._samples.invoice(InvoiceState.PAYABLE, from_a_later_version="x" * LARGE_BYTES),
            f"take bodies of {LARGE_BYTES // 1024} KiB",
        )

    async def _duplicate(self) -> Finding:
        sample = self._samples.invoice(InvoiceState.IN_PAYMENT)
        first, again = await self._send(sample), await self._send(sample)
        mend = "answer 2xx to a `webhook-id` that you had already: it comes again when your answer was lost"
        if not first.accepted:
            return fault("duplicate", f"{first} the first time already", mend)
        if not again.accepted:
            return fault("duplicate", f"{again} when the same notification came a second time", mend)
        return ok("duplicate", f"{again} the second time")

    async def _versions(self) -> AsyncGenerator[Finding]:
        lower, higher = (self._samples.invoice(state) for state in (InvoiceState.IN_PAYMENT, InvoiceState.PAID))
        mend = "answer 2xx to a lower version than the one you show, and go on showing the higher one"
        await self._send(higher)
        yield await self._taken_sample("out_of_order", lower, mend)
        late = self._samples.invoice(
            InvoiceState.PAYABLE, version=self._samples.first_version, at=datetime.now(UTC) - LATE
        )
        yield await self._taken_sample(
            "replayed_late", late, f"{mend}. The body's timestamp may be days old; only `webhook-timestamp` is recent"
        )
        yield await self._wins("highest_version_wins", higher, "a lower version came after it")
        beside = [self._samples.invoice(state) for state in LOWER]
        random.shuffle(beside)
        highest = self._samples.invoice(InvoiceState.PAYABLE)
        answers = await asyncio.gather(*map(self._send, [highest, *beside]))
        worst = next((answer for answer in answers if not answer.accepted), None)
        if worst is not None:
            yield fault("at_once", f"{worst} when {len(answers)} came at the same time", "take several at once")
            yield unchecked("highest_version_wins_at_once", "not all that came at once were taken", "mend that first")
            return
        yield ok("at_once", f"{len(answers)} at the same time, all accepted")
        mend = "compare and write in one step, such as UPDATE … WHERE version < the new one"
        yield await self._wins("highest_version_wins_at_once", highest, "lower ones came at the same time", mend)

    async def _must_be_refused(self) -> AsyncGenerator[Finding]:
        for name, forged, what, mend in self._forgeries():
            yield await self._refused(name, forged, what, mend)
        truth = self._samples.invoice(InvoiceState.PAYABLE)
        await self._send(truth)
        yield await self._wins(
            "forgeries_change_nothing",
            truth,
            "forgeries of a higher version came before it",
            "verify before anything is read, kept or queued",
        )

    def _forgeries(self) -> list[tuple[str, list[Request], str, str]]:
        forged = self._samples.invoice(
            InvoiceState.WITHDRAWN, version=self._samples.invoice(InvoiceState.PAYABLE).version + FORGED_AHEAD
        )
        right, body = self._signed(forged), forged.body
        changed = body.replace(b'"withdrawn"', b'"paid"')
        stale, early = (self._signed(forged, offset) for offset in (-STALE_SECONDS, STALE_SECONDS))
        shifted = {**self._signed(forged, -2 * TOLERANCE_SECONDS), "webhook-timestamp": right["webhook-timestamp"]}
        no_signature = {name: value for name, value in right.items() if name != "webhook-signature"}
        verify = (
            "compute HMAC-SHA256 over `webhook-id.webhook-timestamp.body`, and answer 401 when no signature is equal"
        )
        return [
            (
                "unsigned",
                [({}, body), (no_signature, body)],
                "without a signature",
                "answer 401 when a header is missing",
            ),
            (
                "wrong_secret",
                [(self._signed(forged, secret=_other_secret()), body)],
                "signed with another secret",
                verify,
            ),
            ("changed_body", [(right, changed)], "whose body was changed after it was signed", verify),
            ("changed_id", [({**right, "webhook-id": f"{forged.id}x"}, body)], "whose webhook-id was changed", verify),
            ("changed_time", [(shifted, body)], "whose webhook-timestamp was changed", verify),
            (
                "old_timestamp",
                [(stale, body)],
                "signed an hour ago",
                f"refuse a `webhook-timestamp` more than {TOLERANCE_SECONDS // 60} minutes ago: it may be a recording",
            ),
            (
                "future_timestamp",
                [(early, body)],
                "signed an hour ahead of now",
                f"refuse a `webhook-timestamp` more than {TOLERANCE_SECONDS // 60} minutes ahead",
            ),
        ]

    async def _refused(self, name: str, forged: list[Request], what: str, mend: str) -> Finding:
        answers = [await self._portal.post(*request) for request in forged]
        wrong = next((answer for answer in answers if not answer.refused), None)
        if wrong is None:
            return ok(name, f"{answers[-1]}")
        if wrong.accepted:
            return fault(name, f"{wrong} to a notification {what}: anybody could send one", mend)
        return fault(name, f"{wrong} to a notification {what}; 401 was expected", mend)

    async def _taken_sample(self, name: str, sample: Sample, mend: str) -> Finding:
        return await self._taken(name, (self._signed(sample), sample.body), mend)

    async def _taken(self, name: str, request: Request, mend: str) -> Finding:
        answer = await self._portal.post(*request)
        return ok(name, str(answer)) if answer.accepted else fault(name, str(answer), mend)

    async def _is_shown(self, sample: Sample) -> Finding:
        """Whether the portal shows what it has taken; if not, there is no use in asking again."""
        if not self._shows:
            return unchecked("shown", "whether the portal shows what it was told", _GIVE_A_STATE_URL)
        seen = await self._settled(sample)
        if _agree(seen, sample):
            return ok("shown", f"{seen}")
        self._shows = False
        what = f"told of {sample}, and {seen if isinstance(seen, str) else f'shows {seen}'}"
        mend = (
            'write down what a notification says before or soon after the 2xx; the state URL answers {"state": …}, and '
            "the version if the portal keeps it. A portal that shows only its own invoices needs --number"
        )
        return fault("shown", what, mend)

    async def _wins(
        self, name: str, truth: Sample, though: str, mend: str = "ignore a version lower than yours"
    ) -> Finding:
        """Whether the portal shows the truth, whatever came beside it."""
        if not self._shows:
            return unchecked(name, f"whether the highest version is shown when {though}", _GIVE_A_STATE_URL)
        seen = await self._settled(truth)
        if _agree(seen, truth):
            return ok(name, f"shows {seen}")
        return fault(name, f"{seen if isinstance(seen, str) else f'shows {seen}'}, not {truth}, when {though}", mend)

    async def _settled(self, expected: Sample) -> Shown | str:
        """What the portal shows once it has shown it for a while, or when patience is at its end."""
        patience = self._portal.patience
        since: float | None = None
        end = time.monotonic() + patience.shown
        while True:
            seen = await self._portal.shown(self._samples.regie, self._samples.number)
            now = time.monotonic()
            since = (since or now) if _agree(seen, expected) else None
            if (since is not None and now - since >= patience.steady) or (since is None and now >= end):
                return seen
            await asyncio.sleep(patience.poll)

    async def _send(self, sample: Sample) -> Answer:
        return await self._portal.post(self._signed(sample), sample.body)

    def _signed(self, sample: Sample, offset_seconds: int = 0, secret: str | None = None) -> dict[str, str]:
        at = int(time.time()) + offset_seconds
        return signed_headers((secret or self._secret,), sample.id, at, sample.body)

    async def _why_refused(self, answer: Answer) -> str:
        """What to do about a portal that does not take what is right."""
        match answer.status:
            case None:
                return "answer within 15 s, before the work: keep the notification, answer 204, then work"
            case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED:
                return "is that the address that takes notifications, by POST?"
            case HTTPStatus.GONE:
                return "410 means that nothing more is to be sent; answer it only when the portal is closed for good"
            case status if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
                return "redirects are not followed: configure the address that they lead to"
            case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return "the portal failed: its log says why"
            case _:
                return await self._mistake_in_signing() or (
                    "is it the same secret on both sides? The key is what stands after whsec_, decoded from base64; "
                    "signed is `webhook-id.webhook-timestamp.body`, the body's bytes as they came"
                )

    async def _mistake_in_signing(self) -> str | None:
        """The mistake that the portal makes: it takes what is signed so."""
        for sign, mend in _MISTAKES:
            sample = self._samples.invoice(InvoiceState.PAYABLE)
            at = str(int(time.time()))
            key, content = sign(self._secret, f"{sample.id}.{at}.".encode(), sample.body)
            signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
            headers = {"webhook-id": sample.id, "webhook-timestamp": at, "webhook-signature": f"v1,{signature}"}
            if (await self._portal.post(headers, sample.body)).accepted:
                return mend
        return None


def _decoded(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX))


_MISTAKES: Final[tuple[tuple[Callable[[str, bytes, bytes], tuple[bytes, bytes]], str], ...]] = (
    (
        lambda secret, head, body: (secret.encode(), head + body),
        "it takes the whole secret as the key: the key is what stands after whsec_, decoded from base64",
    ),
    (
        lambda secret, head, body: (secret.removeprefix(PREFIX).encode(), head + body),
        "it takes what stands after whsec_ as the key: decode that from base64 first",
    ),
    (
        lambda secret, _, body: (_decoded(secret), body),
        "it signs the body alone: signed is `webhook-id.webhook-timestamp.body`",
    ),
    (
        lambda secret, head, body: (_decoded(secret), head.split(b".")[1] + b"." + body),
        "it leaves webhook-id out: signed is `webhook-id.webhook-timestamp.body`",
    ),
)
"""What integrators were seen to sign instead, and what to tell them."""


def _other_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def _agree(seen: Shown | str, sample: Sample) -> bool:
    if isinstance(seen, str):
        return False
    return seen.state == sample.state and seen.version in (None, sample.version)
