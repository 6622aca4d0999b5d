"""The seals: each chain whole from its first seal to its end, and each seal true of the events that it names."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from worker.domain import seal
from worker.store.seals import Digests, digests_of
from worker.verify.differences import About, Difference
from worker.verify.snapshot import QUERIES, Connection

Row = Mapping[str, Any]
FETCHED = 50
"""Seals read at once: some megabytes."""


class Places:
    """A set of places: one bit for each."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, place: int) -> bool:
        """Put a place in; False when it was there."""
        byte, bit = place >> 3, 1 << (place & 7)
        if byte >= len(self._bits):
            self._bits.extend(bytes(byte + 1 - len(self._bits) + (1 << 16)))
        if self._bits[byte] & bit:
            return False
        self._bits[byte] |= bit
        return True

    def __contains__(self, place: int) -> bool:
        byte = place >> 3
        return byte < len(self._bits) and bool(self._bits[byte] & 1 << (place & 7))


class Sealed(Struct, kw_only=True):
    """What a seal says of its events."""

    regie: str
    number: int
    places: list[int]
    events: bytes
    applications: bytes


class Chain(Struct, kw_only=True):
    """How far a régie's chain was proved."""

    regie: str
    seals: int = 0
    head: bytes = seal.BEGINNING
    last_seq: int = 0


class Chains:
    """Every chain, followed seal after seal."""

    def __init__(self) -> None:
        self.differences: list[Difference] = []
        self.found: dict[str, Chain] = {}
        self.sealed = Places()
        self.sealed_to = 0
        """The last number in the order of application that any chain has."""

    async def follow(self, conn: Connection, regies: Sequence[str] | None) -> AsyncIterator[Sealed]:
        """Prove each chain, and pass on what each seal says of its events, to be compared with them."""
        async for row in conn.cursor(QUERIES.seals, regies, prefetch=FETCHED):
            chain = self.found.setdefault(row["regie"], Chain(regie=row["regie"]))
            self.differences.extend(_wrong_with(row, chain))
            self.differences.extend(
                _about(row["regie"], row["number"]).is_wrong(f"seals event {place} again", "places")
                for place in row["places"]
                if not self.sealed.add(place)
            )
            chain.seals, chain.head, chain.last_seq = row["number"], row["hash"], row["last_seq"]
            self.sealed_to = max(self.sealed_to, chain.last_seq)
            yield Sealed(**{name: row[name] for name in Sealed.__struct_fields__})
        await self._compare_ends(conn, regies)

    async def _compare_ends(self, conn: Connection, regies: Sequence[str] | None) -> None:
        """Compare where chains end with where they should: a last seal that is gone is missed by nothing else."""
        ends = {row["regie"]: row for row in await conn.fetch(QUERIES.chains, regies)}
        for regie in sorted(ends.keys() | self.found.keys()):
            chain, end = self.found.get(regie, Chain(regie=regie)), ends.get(regie)
            about = About(regie=regie, table="chains", row=regie)
            if end is None:
                self.differences.append(about.is_wrong("is missing"))
                continue
            self.sealed_to = max(self.sealed_to, end["last_seq"])
            for number in range(chain.seals + 1, end["length"] + 1):
                self.differences.append(_about(regie, number).is_wrong("is missing at the end of its chain"))
            told = [("length", chain.seals), ("head", chain.head), ("last_seq", chain.last_seq)]
            if end["length"] <= chain.seals:
                self.differences += [about.differs(name, end[name], is_) for name, is_ in told if end[name] != is_]


def _about(regie: str, number: int) -> About:
    return About(regie=regie, table="seals", row=f"{number}")


def _wrong_with(row: Row, chain: Chain) -> Iterator[Difference]:
    """Follow one seal from the one before it."""
    for number in range(chain.seals + 1, row["number"]):
        yield _about(chain.regie, number).is_wrong("is missing")
    about = _about(chain.regie, row["number"])
    if row["number"] == chain.seals + 1 and row["previous"] != chain.head:
        yield about.differs("previous", row["previous"], chain.head)
    digests = row["previous"], row["events"], row["applications"]
    hashed = seal.seal_hash(row["regie"], row["number"], row["sealed_at"], row["last_seq"], digests)
    if hashed != row["hash"]:
        yield about.differs("hash", row["hash"], hashed)


class Compared(Struct, kw_only=True):
    """Seals that were compared with their events."""

    events: int = 0
    blanked: int = 0
    """Events that lost what was raw or personal."""
    unproven: int = 0
    """Of these, those whose facts no seal has apart: what was blanked of them took their proof with it."""
    differences: list[Difference] = field(default_factory=list)


async def compare(conn: Connection, seals: Sequence[Sealed]) -> Compared:
    """Compare what seals say with what their events, outcomes and lines of the journal are now."""
    places = [place for each in seals for place in each.places]
    rows = await conn.fetch(QUERIES.sealed, places)
    now = {digests.place: digests for digests in await digests_of(conn, rows)}
    found = Compared(events=len(places))
    for each in seals:
        found.differences.extend(_changed(each, now))
    found.blanked = sum(row["blanked"] for row in rows)
    changed = {row["place"] for row in rows if row["changed"]}
    for each in seals if changed else ():
        said = zip(each.places, seal.split(each.events), strict=True)
        found.unproven += sum(place in changed and event == now[place].without_facts for place, event in said)
    return found


def _changed(sealed: Sealed, now: Mapping[int, Digests]) -> Iterator[Difference]:
    said = zip(sealed.places, seal.split(sealed.events), seal.split(sealed.applications), strict=True)
    last = 0
    for place, event, application in said:
        is_now = now.get(place)
        if is_now is None:
            about = About(regie=sealed.regie, table="events", row=f"{place}")
            yield about.is_wrong(f"is gone, or its outcome: seal {sealed.number} names it")
            continue
        if event not in {is_now.event, is_now.without_facts}:
            about = About(regie=sealed.regie, table="events", row=f"{place}")
            yield about.is_wrong(f"key, times, raw bytes or digest are not those of seal {sealed.number}")
        if is_now.application != application:
            about = About(regie=sealed.regie, table="outcomes", row=f"event {place}")
            yield about.is_wrong(f"outcome or lines of the journal are not those of seal {sealed.number}")
        elif is_now.applied_seq <= last:
            yield _about(sealed.regie, sealed.number).is_wrong(f"event {place} is not in its order", "places")
        last = is_now.applied_seq
