"""A running demo that nobody plays but the tests: what they issue, spoil and look up behind the families' backs."""

import itertools
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import requests

from worker.demonstration.families import Family, Invoice
from worker.demonstration.installation import Installation
from worker.demonstration.lettrage import issued

HOLD_SECONDS = 10
"""Long enough to look at every page of a payment, its button after 5 s included; short enough to wait for its end."""
READY_SECONDS = 120
POLL_SECONDS = 0.1
HTTP_SECONDS = 10
RECONCILED, ACCEPTED = 200, 202
NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Town:
    """A running demo. `cookies`: of the families that have signed in, by dossier."""

    installation: Installation
    cookies: dict[str, list[Any]] = field(default_factory=dict)

    @property
    def portal(self) -> str:
        """Where the families go."""
        return self.installation.addresses.portal

    @property
    def gateway(self) -> str:
        """Where they pay."""
        return self.installation.addresses.gateway

    def owe(self, family: Family, regie: str, cents: int = 4250, means: str | None = None) -> Invoice:
        """A new invoice that the portal can show."""
        number = f"NAV-{next(NUMBERS):03d}"
        invoice = Invoice(regie, number, family, cents, "Restauration scolaire, novembre", means)
        self.issue(invoice)
        return invoice

    def issue(self, invoice: Invoice) -> None:
        """Tell Lettrage of an invoice, and wait until it knows."""
        answer = self._post(issued(invoice, self.portal))
        assert answer.status_code == ACCEPTED, answer.text
        until(lambda: self.read(invoice) is not None)

    def withdraw(self, invoice: Invoice) -> None:
        """Withdraw an invoice, and wait until it is."""
        event = issued(invoice, self.portal)
        event |= {"type": "fr.lettrage.invoice.withdrawn.v1", "id": f"withdrawn-{invoice.number}"}
        event["data"] = {"regie": invoice.regie, "number": invoice.number}
        assert self._post(event).status_code == ACCEPTED
        self.wait_until(invoice, "withdrawn")

    def wait_until(self, invoice: Invoice, state: str) -> None:
        """Wait until Lettrage reads an invoice so: a hold's end, for example."""
        until(lambda: (self.read(invoice) or {})["state"] == state)

    def payments_of(self, invoice: Invoice) -> list[str]:
        """The states of the payments that named an invoice, as Lettrage has them."""
        return [payment["state"] for payment in self._payments(invoice)]

    def _payments(self, invoice: Invoice) -> list[dict[str, Any]]:
        found = self.read(invoice)
        assert found is not None
        payments: list[dict[str, Any]] = found["payments"]
        return payments

    def at_gateway(self, invoice: Invoice) -> list[dict[str, Any]]:
        """The payments of an invoice, as the simulated gateway has them."""
        listed = requests.get(f"{self.gateway}/control/payments", timeout=HTTP_SECONDS).json()
        known = {payment["reference"] for payment in self._payments(invoice)}
        return [payment for payment in listed if payment["reference"] in known]

    def spoil_payfip(self, faults: list[dict[str, Any]]) -> None:
        """Make something go wrong with all of PayFiP."""
        assert requests.put(f"{self.gateway}/control/service/payfip", json=faults, timeout=HTTP_SECONDS).ok

    def spoil(self, reference: str, fault: dict[str, Any]) -> None:
        """Make something go wrong with one payment."""
        assert requests.put(f"{self.gateway}/control/faults/{reference}", json=fault, timeout=HTTP_SECONDS).ok

    def wait_until_ready(self) -> None:
        """Wait until the portal answers and Lettrage reconciles: its worker may start long after its web is ready."""
        until(lambda: _answers(f"{self.installation.addresses.lettrage}/readyz"))
        until(lambda: _answers(self.portal))
        until(self._reconciles)

    def _reconciles(self) -> bool:
        first = issued(Invoice("enfance", "NAV-000", Family("D-0000", "Nobody"), 100, "The first"), self.portal)
        return self._post(first, Prefer="wait=5").status_code == RECONCILED

    def _post(self, event: dict[str, Any], **headers: str) -> requests.Response:
        return requests.post(
            f"{self.installation.addresses.lettrage}/v1/events",
            data=json.dumps(event),
            headers={**self._token, "Content-Type": "application/cloudevents+json", **headers},
            timeout=HTTP_SECONDS,
        )

    def read(self, invoice: Invoice) -> dict[str, Any] | None:
        """An invoice as Lettrage has it."""
        address = f"{self.installation.addresses.lettrage}/v1/regies/{invoice.regie}/invoices/{invoice.number}"
        answer = requests.get(address, headers=self._token, timeout=HTTP_SECONDS)
        found: dict[str, Any] | None = answer.json() if answer.ok else None
        return found

    def told_to_portal(self, invoice: Invoice) -> str | None:
        """The state that the portal knows an invoice in, from what it was told; None if it knows none."""
        file = self.installation.processes[0].log.with_name("portal.sqlite")
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as portal:
            row = portal.execute("SELECT state FROM invoices WHERE number = ?", (invoice.number,)).fetchone()
            return row[0] if row else None

    @property
    def _token(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.installation.token}"}


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=HTTP_SECONDS).ok
    except requests.ConnectionError:
        return False


def until(done: Callable[[], bool]) -> None:
    """Wait for something that other processes do."""
    give_up = time.monotonic() + READY_SECONDS
    while not done():
        assert time.monotonic() < give_up
        time.sleep(POLL_SECONDS)
