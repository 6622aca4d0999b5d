"""What goes wrong in one world, drawn from its seed."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Weather:
    """Chances, from 0 to 1 each time something could go wrong, and delays in seconds."""

    refused: float = 0.0
    """The store cannot be reached; nothing was done."""
    unanswered: float = 0.0
    """Committed, but the answer is an error."""
    killed_before: float = 0.0
    """The process dies before its transaction commits."""
    killed_after: float = 0.0
    """The process dies after the commit, before it hears of it."""
    store_seconds: float = 0.001
    bell_lost: float = 0.0
    bell_dead: bool = False
    """Redis is gone for good."""
    gateway_fails: float = 0.0
    gateway_seconds: float = 0.1
    outages: tuple[tuple[float, float], ...] = ()
    """Stretches, in seconds since the world began, in which no question is answered."""
    restarted: float = 0.0
    """A process is stopped and started again, as a release does."""
    callback_lost: float = 0.0
    """A gateway falls silent: nobody ever hears of this charge."""
    callback_seconds: float = 1.0
    """How late a callback may be: those of one charge overtake each other."""
    repeated: float = 0.0
    """A callback or an event is sent again."""
    reply_lost: float = 0.0
    """A portal does not hear that its event was stored, and sends it again."""

    @property
    def is_fair(self) -> bool:
        """Whether nothing is broken or slow: then deadlines are met to the second."""
        return not any(
            (
                self.refused,
                self.unanswered,
                self.killed_before,
                self.killed_after,
                self.gateway_fails,
                self.outages,
                self.restarted,
                self.store_seconds > SWIFT_SECONDS,
                self.gateway_seconds > SWIFT_SECONDS,
            )
        )


SWIFT_SECONDS = 0.1
"""Slower stores and gateways may make a hold's end or its evidence late."""


def weather_of(random: Random) -> Weather:
    """A fair day one time in five; else each trouble by itself, mostly absent, seldom violent."""
    if random.random() < 0.2:
        return Weather(
            repeated=random.choice((0.0, 0.3)),
            bell_dead=random.random() < 0.5,
            callback_seconds=random.choice((0.1, 1.0)),
        )

    def chance(*choices: float) -> float:
        return random.choice((0.0, 0.0, *choices))

    return Weather(
        refused=chance(0.02, 0.2),
        unanswered=chance(0.02, 0.2),
        killed_before=chance(0.01, 0.08),
        killed_after=chance(0.01, 0.08),
        store_seconds=random.choice((0.001, 0.05, 0.5)),
        bell_lost=chance(0.1, 0.7),
        bell_dead=random.random() < 0.15,
        gateway_fails=chance(0.1, 0.5),
        gateway_seconds=random.choice((0.1, 1.0, 5.0)),
        outages=tuple(_outage(random) for _ in range(random.choice((0, 0, 1, 2)))),
        restarted=chance(0.3),
        callback_lost=chance(0.1),
        callback_seconds=random.choice((0.1, 2.0, 12.0)),
        repeated=chance(0.1, 0.5),
        reply_lost=chance(0.05, 0.3),
    )


def _outage(random: Random) -> tuple[float, float]:
    begins = random.uniform(0, 30)
    return begins, begins + random.choice((2, 10, 30))
