"""When a gateway is asked about a payment: on a schedule while its hold is on, and for a while after.

A lost notification then costs minutes, and the hold's end is decided knowingly. Every time is the database's.
Source: design.md, "Deadlines and gateways".
"""

from datetime import datetime, timedelta

from schemas.records import Payment, Policy
from schemas.reports import Report, ReportResult

FINAL = frozenset({ReportResult.PAID, ReportResult.REJECTED_LATER})
"""Nothing follows these: money came, or provisional money was rejected. A refusal may be followed by another card."""
CANNOT_SAY = frozenset({ReportResult.WAITING, ReportResult.FAILED})

USUAL_HOLD_SECONDS = 1800
"""The hold that schedules are written for; a shorter one has them shortened alike."""
LAST_LOOK_SECONDS = 60
"""Before the end of a longer hold."""
AFTER_SECONDS = (15, 60, 180, 420, 900, 1800, 3600)
"""After the hold's end, then hourly: a payer who was on the page at the end needs a moment, a bank an evening."""
HOURLY_SECONDS = 3600
APART = timedelta(seconds=10)
"""Between two asks about one reference, unless its gateway calls back."""
MOST_PATIENT = timedelta(minutes=5)
"""Between two tries at a gateway that cannot be reached: what it knows is applied that soon once it is back."""
PATIENCE_GROWS = 8
"""A failed ask is repeated after an eighth of the payment's age: backoff that needs no count of tries."""
GRACE_SHARE = 4
"""A last look that failed is repeated for a quarter of the watch more: an outage at its end ends, too."""


def first_ask(policy: Policy, payment: Payment, now: datetime) -> datetime | None:
    """When to ask about a payment that has just been started; None where its gateway cannot be asked."""
    return _scheduled(policy, payment, now, now) if policy.polls else None


def next_ask(policy: Policy, payment: Payment, report: Report, now: datetime) -> datetime | None:
    """When to ask again after this answer; None when nothing more can come of it, or the watch is over."""
    if report.result in FINAL or not policy.polls:
        return None
    scheduled = _scheduled(policy, payment, now, now + APART)
    if report.result is not ReportResult.FAILED:
        return scheduled
    given_up_at = _watched_until(policy, payment) + timedelta(seconds=policy.watch / GRACE_SHARE)
    if now >= given_up_at:
        return None
    patience = min((now - _started(policy, payment)) / PATIENCE_GROWS, MOST_PATIENT)
    return max(min(scheduled or given_up_at, now + patience), now + APART)


def watch_is_over(policy: Policy, payment: Payment, now: datetime) -> bool:
    """Tell whether a payment has been watched for as long as its régie wants."""
    return now >= _watched_until(policy, payment)


def _watched_until(policy: Policy, payment: Payment) -> datetime:
    assert payment.deadline is not None
    return payment.deadline + timedelta(seconds=policy.watch)


def _started(policy: Policy, payment: Payment) -> datetime:
    assert payment.deadline is not None
    return payment.deadline - timedelta(seconds=policy.hold)


def _scheduled(policy: Policy, payment: Payment, now: datetime, after: datetime) -> datetime | None:
    """The first time on the schedule past `after`; the last one is the end of the watch itself, or a little later."""
    assert payment.deadline is not None
    watched_until = _watched_until(policy, payment)
    if watch_is_over(policy, payment, now):
        return None
    started = _started(policy, payment)
    before = (started + timedelta(seconds=seconds) for seconds in _during(policy))
    later = next((time for time in before if time > after), None)
    return min(later or payment.deadline + _past((after - payment.deadline).total_seconds()), max(watched_until, after))


def _during(policy: Policy) -> list[float]:
    """Seconds after the start: as the gateway's schedule says, in proportion to a shorter hold, on through a longer."""
    scale = min(1.0, policy.hold / USUAL_HOLD_SECONDS)
    looks = [seconds * scale for seconds in policy.polls]
    if policy.hold > USUAL_HOLD_SECONDS:
        last = policy.hold - LAST_LOOK_SECONDS
        looks += [*range(USUAL_HOLD_SECONDS, last, USUAL_HOLD_SECONDS), last]
    return looks


def _past(seconds: float) -> timedelta:
    """From the hold's end to the first look more than so many seconds after it."""
    later = next((look for look in AFTER_SECONDS if look > seconds), None)
    return timedelta(seconds=later or (seconds // HOURLY_SECONDS + 1) * HOURLY_SECONDS)
