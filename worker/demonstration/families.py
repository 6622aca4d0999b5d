"""Who plays in the demo, what they owe, what they do, and how each of their invoices should end."""

from dataclasses import dataclass
from typing import Final

CHILDHOOD: Final = "enfance"
AFTER_SCHOOL: Final = "periscolaire"
CANTEEN: Final = "restauration"
PASSWORD: Final = "un cartable tout neuf"  # noqa: S105 (not a secret: made-up families, on loopback, gone afterwards)
"""What every played family chooses at the portal; shown, so that whoever watches can sign in as one."""


@dataclass(frozen=True, slots=True)
class Family:
    """A made-up family."""

    account: str
    name: str

    @property
    def email(self) -> str:
        """An address that reaches nobody (RFC 2606)."""
        return f"{self.account.lower()}@example.org"


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a family owes; amounts in cents."""

    regie: str
    number: str
    family: Family
    cents: int
    label: str
    means: str | None = None

    @property
    def document_path(self) -> str:
        """Where the portal gives the invoice's document."""
        return f"/documents/{self.regie}/{self.number}.pdf"


@dataclass(frozen=True, slots=True)
class Part:
    """One family's play with one invoice.

    `button` is what it presses on the gateway's page, None when it closes the window. `payment` is the state that its
    payment ends in; the invoice ends paid if that is paid, else payable again. `unheard`: the gateway's notification
    never comes and the family does not come back either, so that its payment is found only by asking.
    """

    invoice: Invoice
    does: str
    button: str | None
    payment: str
    unheard: bool = False


MARTIN: Final = Family("D-1001", "Famille Martin")
NGUYEN: Final = Family("D-1002", "Famille Nguyen")
DIALLO: Final = Family("D-1003", "Famille Diallo")
ROSSI: Final = Family("D-1004", "Famille Rossi")
LEROY: Final = Family("D-1005", "Famille Leroy")
"""Plays nothing and has never signed in: its first visit is whoever's opens the portal."""
FAMILIES: Final = (MARTIN, NGUYEN, DIALLO, ROSSI, LEROY)

PARTS: Final = (
    Part(
        Invoice(CHILDHOOD, "ENF-2026-0101", MARTIN, 8640, "Accueil du matin et du soir, octobre"),
        "pays",
        "payer",
        "paid",
    ),
    Part(
        Invoice(CHILDHOOD, "ENF-2026-0102", NGUYEN, 12350, "Crèche Les Tilleuls, octobre"),
        "has its card refused",
        "refuser",
        "refused",
    ),
    Part(
        Invoice(CHILDHOOD, "ENF-2026-0103", DIALLO, 4200, "Centre de loisirs, vacances d’automne"),
        "cancels",
        "annuler",
        "cancelled",
    ),
    Part(
        Invoice(CHILDHOOD, "ENF-2026-0104", ROSSI, 15875, "Crèche Les Tilleuls, octobre"),
        "closes the window",
        None,
        "expired",
    ),
    Part(
        Invoice(CANTEEN, "CAN-2026-0201", MARTIN, 6120, "Restauration scolaire, octobre"),
        "pays through the dummy gateway",
        "payer",
        "paid",
    ),
    Part(
        Invoice(AFTER_SCHOOL, "PER-2026-0301", DIALLO, 5320, "Goûter et devoirs, octobre"),
        "pays at PayFiP, which tells nobody",
        "payer",
        "paid",
        unheard=True,
    ),
    Part(
        Invoice(AFTER_SCHOOL, "PER-2026-0302", NGUYEN, 4710, "Goûter et devoirs, octobre"),
        "pays at PayFiP by direct debit",
        "prelever",
        "paid",
    ),
    Part(
        Invoice(AFTER_SCHOOL, "PER-2026-0303", ROSSI, 6480, "Ateliers du mercredi, octobre"),
        "closes PayFiP's window",
        None,
        "expired",
    ),
)
"""What the demo plays by itself."""

LEFT_TO_CLICK: Final = (
    Invoice(CHILDHOOD, "ENF-2026-0111", MARTIN, 3150, "Étude surveillée, octobre"),
    Invoice(CHILDHOOD, "ENF-2026-0112", NGUYEN, 2480, "Accueil du soir, octobre"),
    Invoice(CHILDHOOD, "ENF-2026-0113", DIALLO, 9900, "Séjour à la mer, acompte"),
    Invoice(CANTEEN, "CAN-2026-0202", DIALLO, 5780, "Restauration scolaire, octobre"),
    Invoice(AFTER_SCHOOL, "PER-2026-0311", MARTIN, 2950, "Ateliers du mercredi, octobre"),
    Invoice(AFTER_SCHOOL, "PER-2026-0312", DIALLO, 1840, "Sortie au musée"),
    Invoice(CHILDHOOD, "ENF-2026-0114", ROSSI, 3150, "Étude surveillée, octobre"),
    Invoice(CANTEEN, "CAN-2026-0203", ROSSI, 7030, "Restauration scolaire, octobre"),
    Invoice(CHILDHOOD, "ENF-2026-0115", LEROY, 11230, "Crèche Les Tilleuls, octobre"),
    Invoice(CHILDHOOD, "ENF-2026-0116", LEROY, 2480, "Accueil du soir, octobre"),
    Invoice(CHILDHOOD, "ENF-2026-0117", LEROY, 3600, "Centre de loisirs, vacances d’automne"),
    Invoice(AFTER_SCHOOL, "PER-2026-0313", LEROY, 4710, "Goûter et devoirs, octobre"),
    Invoice(CANTEEN, "CAN-2026-0204", LEROY, 5780, "Restauration scolaire, octobre", means="direct_debit"),
)
"""What is left for whoever opens the portal."""

INVOICES: Final = (*(part.invoice for part in PARTS), *LEFT_TO_CLICK)
