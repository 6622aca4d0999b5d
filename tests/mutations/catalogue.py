"""Rules that somebody could remove, and the tests that must notice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """In the file at `path`, `old` (there exactly once) becomes `new`; one of `tests` turns red."""

    name: str
    path: str
    old: str
    new: str
    tests: list[str]


MUTATIONS: list[Mutation] = []
