"""What `verify` finds: which row, which column, what is stored, what it should be."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from msgspec import Struct

PERSONAL: Final = frozenset({"account", "label", "document_url", "comment"})
"""Columns whose values are compared and never shown."""
HIDDEN: Final = "(not shown)"

Key = TypeVar("Key")


class Difference(Struct, kw_only=True, frozen=True):
    """One thing that is not as it should be."""

    regie: str | None
    table: str
    row: str
    """What names it for people: number, reference, place."""
    what: str
    column: str | None = None
    stored: Any = None
    expected: Any = None


class About(Struct, kw_only=True, frozen=True):
    """A row, as differences name it."""

    regie: str | None
    table: str
    row: str

    def is_wrong(self, what: str, column: str | None = None) -> Difference:
        """Say what is wrong with this row, or with a column of it."""
        return Difference(regie=self.regie, table=self.table, row=self.row, what=what, column=column)

    def differs(self, column: str, stored: object, expected: object) -> Difference:
        """Say what a column has and should have; values that are personal are not told."""
        if column in PERSONAL:
            stored, expected = (None if value is None else HIDDEN for value in (stored, expected))
        return Difference(
            regie=self.regie,
            table=self.table,
            row=self.row,
            what="differs",
            column=column,
            stored=stored,
            expected=expected,
        )

    def between(self, stored: Struct | None, expected: Struct | None) -> Iterator[Difference]:
        """Say that a row is missing, that nothing explains it, or which of its columns differ."""
        if stored is None:
            yield self.is_wrong("is missing")
        elif expected is None:
            yield self.is_wrong("is explained by no event")
        else:
            for name in expected.__struct_fields__:
                one, other = getattr(stored, name), getattr(expected, name)
                if one != other and name != "lines":  # they are rows of their own
                    yield self.differs(name, one, other)


def between(
    keys: Iterable[Key], stored: Mapping[Key, Struct], expected: Mapping[Key, Struct], about: Callable[[Key], About]
) -> Iterator[Difference]:
    """Compare rows by their keys."""
    for key in keys:
        one, other = stored.get(key), expected.get(key)
        if one != other:
            yield from about(key).between(one, other)
