"""What unproven callbacks may cost."""

from ipaddress import ip_network

import pytest

from worker.web import quotas
from worker.web.quotas import Buckets, CallbackQuotas, address_of, network_of


class Time:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """The time now."""
        return self.seconds


def test_a_bucket_gives_what_it_holds_and_fills_again() -> None:
    """Three at once, then one a second; a refusal takes nothing."""
    time = Time()
    buckets = Buckets(1.0, 3.0, time)
    assert [buckets.spend("a") for _ in range(4)] == [True, True, True, False]
    assert buckets.spend("b")
    time.seconds = 1.0
    assert [buckets.spend("a"), buckets.spend("a")] == [True, False]
    time.seconds = 100.0
    assert [buckets.spend("a") for _ in range(4)] == [True, True, True, False]


def test_buckets_forget_the_least_recently_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, whoever comes."""
    monkeypatch.setattr(quotas, "MAX_KEYS", 2)
    buckets = Buckets(0.0, 1.0, Time())
    assert [buckets.spend(key) for key in "abab"] == [True, True, False, False]
    assert buckets.spend("c")
    assert not buckets.spend("b")
    assert buckets.spend("a")


def test_one_address_cannot_spend_the_regie_s_quota() -> None:
    """A second address is still heard."""
    limited = CallbackQuotas(Time())
    taken = [limited.spend("enfance", "192.0.2.1", 100) for _ in range(1000)]
    assert taken.count(True) == quotas.ADDRESS_AT_ONCE
    assert limited.spend("enfance", "192.0.2.2", 100)


def test_many_addresses_share_the_regie_s_quota() -> None:
    """But not another régie's."""
    limited = CallbackQuotas(Time())
    taken = [limited.spend("enfance", f"192.0.2.{n % 250}", 100) for n in range(1000)]
    assert taken.count(True) == quotas.REGIE_AT_ONCE
    assert limited.spend("cantine", "192.0.2.1", 100)


def test_a_regie_s_disk_is_bounded_by_day() -> None:
    """Slow, large and from everywhere: a day's bytes and no more than twice that in two."""
    time = Time()
    limited = CallbackQuotas(time)
    size, stored = 64 * 1024, 0
    for n in range(20_000):
        time.seconds += 2 * quotas.SECONDS_PER_DAY / 20_000
        stored += size * limited.spend("enfance", f"198.51.{n % 250}.1", size)
    assert quotas.REGIE_BYTES_PER_DAY < stored < 3 * quotas.REGIE_BYTES_PER_DAY


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:0db8:0000:0000"),
        ("2001:db8::ffff:1", "2001:0db8:0000:0000"),
        ("2001:db8:0:1::1", "2001:0db8:0000:0001"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("", ""),
        ("unknown", ""),
    ],
)
def test_who_has_one_address_of_a_64_has_them_all(address: str, network: str) -> None:
    """An IPv6 address counts as its network; what is no address counts as one."""
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.66, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["192.0.2.66", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3"], "10.0.0.3"),
        ("10.0.0.1", ["garbage"], "garbage"),
    ],
)
def test_only_a_trusted_proxy_s_word_counts(peer: str, forwarded: list[str], address: str) -> None:
    """What a stranger writes into X-Forwarded-For before it gets to the proxy is not believed."""
    assert address_of(peer, forwarded, [ip_network("10.0.0.0/8")]) == address


def test_a_proof_that_is_replayed_for_ever_proves_nothing_new() -> None:
    """Repetitions of a gateway are free; a thousand of one content are not."""
    limited = CallbackQuotas(Time())
    assert [limited.is_news(b"one") for _ in range(1000)].count(True) == quotas.REPEATS_AT_ONCE
    assert limited.is_news(b"other")
