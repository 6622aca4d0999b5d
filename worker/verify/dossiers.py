"""Which events belong together: those that ever named the same thing, however indirectly. What never met is apart."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from schemas.events import Event
from worker.domain.keys import keys_of

PORTION: Final = 1000
"""Events that are decided again in one go; a dossier that has more is read in portions."""


class Families:
    """Names in disjoint sets, and events with them; some 150 bytes an event, whatever it says."""

    def __init__(self) -> None:
        self._nodes: dict[int, int] = {}
        self._parents = array("q")
        self._places = array("q")
        self._numbers = array("q")
        self._homes = array("q")

    def __len__(self) -> int:
        return len(self._places)

    def add(self, place: int, number: int, names: Iterable[object]) -> None:
        """Take in an event: its place, its number in the order of application, what it names."""
        home = self.join(names)
        self._places.append(place)
        self._numbers.append(number)
        self._homes.append(home)

    def join(self, names: Iterable[object]) -> int:
        """Bring names together; answers their set, for now."""
        roots = [self._root(self._node(name)) for name in names]
        for root in roots[1:]:
            self._parents[root] = roots[0]
            roots[0] = self._root(roots[0])
        return roots[0]

    def _node(self, name: object) -> int:
        key = hash(name)  # two names with one hash are two dossiers read as one, which is as good
        node = self._nodes.get(key)
        if node is None:
            node = self._nodes[key] = len(self._parents)
            self._parents.append(node)
        return node

    def _root(self, node: int) -> int:
        parents = self._parents
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    def portions(self) -> Iterator[list["array[int]"]]:
        """The places of each dossier's events in the order of their application; small dossiers are dealt together."""
        homes, numbers = [self._root(home) for home in self._homes], self._numbers
        order = sorted(range(len(homes)), key=lambda nth: (homes[nth], numbers[nth]))
        portion: list[array[int]] = []
        size = 0
        for dossier in self._dossiers(order, homes):
            if portion and size + len(dossier) > PORTION:
                yield portion
                portion, size = [], 0
            portion.append(dossier)
            size += len(dossier)
        if portion:
            yield portion

    def _dossiers(self, order: Sequence[int], homes: Sequence[int]) -> Iterator["array[int]"]:
        dossier = array("q")
        home = -1
        for nth in order:
            if homes[nth] != home and dossier:
                yield dossier
                dossier = array("q")
            home = homes[nth]
            dossier.append(self._places[nth])
        if dossier:
            yield dossier


def names_of(event: Event) -> list[object]:
    """List what an event names, each in a namespace of its own."""
    regie, keys = event.regie, keys_of(event)
    names: list[object] = [("payment", regie, name) for name in keys.payments]
    names += [("reference", regie, name) for name in (*keys.references, *keys.looked_up)]
    names += [("invoice", regie, name) for name in keys.invoices]
    names += [("discrepancy", name) for name in keys.discrepancies]
    return names
