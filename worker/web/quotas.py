"""What strangers may post to the callback endpoint: only callbacks that prove nothing spend it.

Kept in memory, per web process: a restart forgives. Source: the contract's "raw gateway callbacks".
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

ADDRESS_PER_SECOND: Final = 20.0
ADDRESS_AT_ONCE: Final = 200.0
"""Per address. A bank's gateway speaks for all its merchants from a few addresses, ten a second at its peak."""
REGIE_PER_SECOND: Final = 50.0
REGIE_AT_ONCE: Final = 500.0
"""Per régie. A large one has a payment a second on its busiest evening, and a gateway repeats itself."""
REGIE_BYTES_PER_DAY: Final = 256 * 1024 * 1024
"""Per régie: half a million honest unsigned notifications, and a disk that a year of abuse does not fill."""
REPEATS_AT_ONCE: Final = 50.0
REPEATS_PER_SECOND: Final = 1 / 60
"""Of one proven callback. A gateway repeats itself a few times; whoever replays one for ever proves nothing new."""
KEPT_WITH_EACH_BYTES: Final = 500
"""What a stored callback costs besides what was sent."""
MAX_KEYS: Final = 20_000
"""Addresses and contents remembered: a few megabytes. The least recently seen is forgotten first."""
SECONDS_PER_DAY: Final = 86_400


class Buckets:
    """Token buckets by key: `capacity` at once, then `per_second`."""

    def __init__(self, per_second: float, capacity: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._capacity = capacity
        self._clock = clock
        self._levels: OrderedDict[str | bytes, tuple[float, float]] = OrderedDict()

    def spend(self, key: str | bytes, amount: float = 1.0) -> bool:
        """Take that much from the key's bucket; False, and nothing taken, when it holds less."""
        now = self._clock()
        level, since = self._levels.pop(key, (self._capacity, now))
        level = min(self._capacity, level + (now - since) * self._per_second)
        enough = level >= amount
        self._levels[key] = (level - amount if enough else level, now)
        if len(self._levels) > MAX_KEYS:
            self._levels.popitem(last=False)
        return enough


class CallbackQuotas:
    """Whether one more unproven callback may be stored."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._addresses = Buckets(ADDRESS_PER_SECOND, ADDRESS_AT_ONCE, clock)
        self._regies = Buckets(REGIE_PER_SECOND, REGIE_AT_ONCE, clock)
        self._bytes = Buckets(REGIE_BYTES_PER_DAY / SECONDS_PER_DAY, REGIE_BYTES_PER_DAY, clock)
        self._repeats = Buckets(REPEATS_PER_SECOND, REPEATS_AT_ONCE, clock)

    def is_news(self, digest: bytes) -> bool:
        """Whether a proven callback of this content still proves something: not when it is replayed for ever."""
        return self._repeats.spend(digest)

    def spend(self, regie: str, address: str, size_bytes: int) -> bool:
        """Take one unproven callback of that size from its address, then from its régie."""
        return (
            self._addresses.spend(network_of(address))
            and self._regies.spend(regie)
            and self._bytes.spend(regie, size_bytes + KEPT_WITH_EACH_BYTES)
        )


def address_of(peer: str, forwarded: Sequence[str], trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """Who sent a request: the nearest address that is no trusted proxy's.

    `forwarded` are its X-Forwarded-For headers, each proxy's word about who came to it, the nearest last.
    """
    came_from = [name.strip() for header in forwarded for name in header.split(",")]
    address = peer
    while came_from and _is_in(address, trusted):
        address = came_from.pop()
    return address


def _is_in(address: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def network_of(address: str) -> str:
    """The address, or the /64 of an IPv6 one: who has one of those has all of them."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(parsed, IPv6Address):
        return parsed.ipv4_mapped.exploded if parsed.ipv4_mapped else parsed.exploded[:19]
    return str(parsed)
