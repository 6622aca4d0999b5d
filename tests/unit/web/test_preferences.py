"""`Prefer: wait=N` as RFC 7240 writes it."""

import pytest

from worker.web.preferences import wait_seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ([], None),
        (["wait=5"], 5),
        (["Wait = 10"], 10),
        (['wait="3"'], 3),
        (["wait=1; foo=bar"], 1),
        (["respond-async, wait=5"], 5),
        (["respond-async", "wait=5"], 5),
        (["wait=5, wait=7"], 5),
        (["wait=0"], None),
        (["wait=11"], 10),
        (["wait=60, wait=5"], 10),
        (["wait=007"], 7),
        (["wait=" + "9" * 4000], 10),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait"], None),
        (["wait=five"], None),
        (["waiting=5"], None),
        (["wait=" + "9" * 5000], None),
        (["wait=٣"], None),
    ],
)
def test_a_wait_of_at_most_10_seconds_is_understood(headers: list[str], seconds: int | None) -> None:
    """The first one said counts, more than 10 s as 10; what is no wait is ignored."""
    assert wait_seconds(headers) == seconds
