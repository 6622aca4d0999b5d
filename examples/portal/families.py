"""The families that this town's registry knows. A real portal asks its own directory; every family here is made up."""

import hmac
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

SAID_BEFORE_A_NAME = frozenset({"famille", "m", "mme", "monsieur", "madame"})
"""Words of politeness, which a family may write or leave out."""
NOBODY = "\x00"
"""No name that anybody can type: what an unknown dossier is compared with, so that it takes the same time."""


@dataclass(frozen=True)
class Family:
    """A dossier of the town: its number, its name, the address that PayFiP wants."""

    account: str
    name: str
    email: str


class Registry:
    """Who has a dossier."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = {family.account: family for family in families}

    def find(self, account: str) -> Family | None:
        """The family of a dossier, however its number is typed."""
        return self._families.get(account.strip().upper())

    def recognise(self, account: str, name: str) -> Family | None:
        """The family whose dossier and name these are; comparing takes as long whoever is right or wrong."""
        family = self.find(account)
        expected = bare(family.name) if family else NOBODY
        is_theirs = hmac.compare_digest(bare(name).encode(), expected.encode())
        return family if is_theirs else None


def bare(name: str) -> str:
    """A name without accents, capitals, punctuation and politeness: « Mme LÉGER » and « léger » are one."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    kept = "".join(letter if letter.isalnum() else " " for letter in letters if not unicodedata.combining(letter))
    return " ".join(word for word in kept.split() if word not in SAID_BEFORE_A_NAME)
