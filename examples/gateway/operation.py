"""A payment that a portal created at PayFiP, and its result; Paris's time is in it, to the minute."""

import secrets
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from examples.gateway.faults import InForce
from examples.gateway.payments import Notification, Payment, appended

PARIS = ZoneInfo("Europe/Paris")
RESULTS = {"payer": "P", "prelever": "V", "refuser": "R", "annuler": "A"}
"""What the payer chose, in PayFiP's letters; `Z` is a direct debit that was rejected later."""
TOLD = (
    "dattrans",
    "exer",
    "heurtrans",
    "idOp",
    "mel",
    "montant",
    "numauto",
    "numcli",
    "objet",
    "refdet",
    "resultrans",
    "saisie",
)
"""What PayFiP tells of a payment, in the order of the schema's sequence."""


@dataclass
class Operation(Payment):
    """A payment that a portal created; its idOp is known to nobody else."""

    protocol = "payfip"
    choices = tuple(RESULTS)

    created: float = 0.0
    request: Mapping[str, str] = field(default_factory=dict)
    now: Callable[[], float] = time.time
    idop: str = field(default_factory=lambda: str(uuid.uuid4()))
    opened: bool = False
    result: str | None = None
    outcome: Mapping[str, str] = field(default_factory=dict)
    asked_at: list[str] = field(default_factory=list)

    @property
    def names(self) -> Collection[str]:
        """The portal's reference of the debt, and ours."""
        return (self.reference, self.idop)

    def choose(self, choice: str, faults: InForce) -> Notification:
        """Keep the result for whoever asks; browser and portal are told that there is one, not which."""
        self.choice, self.result = choice, RESULTS[choice]
        paid_at = datetime.fromtimestamp(self.now(), PARIS)
        self.outcome = {
            "dattrans": f"{paid_at:%d%m%Y}",
            "heurtrans": f"{paid_at:%H%M}",
            **_authorisation(choice),
        }
        self.back = appended(self.return_url, {"idop": self.idop})
        spelling = "idOp" if "spelled_idOp" in faults else "idop"
        method = "GET" if "by_get" in faults else "POST"
        return Notification(method, self.request["urlnotif"], {spelling: self.idop})

    def forge(self) -> Notification:
        """Say « paid » where PayFiP says nothing; to be believed by whoever does not ask."""
        claims = {"resultrans": "P", "montant": self.request["montant"], "refdet": self.reference}
        return Notification("POST", self.request["urlnotif"], {"idop": self.idop, **claims})

    def reject(self) -> None:
        """Have the bank reject a direct debit that was accepted: V becomes Z. Raises ValueError for anything else."""
        if self.result != "V":
            raise ValueError(f"only an accepted direct debit (V) can be rejected; this is {self.result or 'not paid'}")
        self.result = "Z"

    def told(self, faults: InForce) -> dict[str, str]:
        """Tell the result, in the order of the schema's sequence."""
        assert self.result is not None
        found = {**self.request, **self.outcome, "idOp": self.idop, "resultrans": self.result}
        if "wrong_amount" in faults:
            found["montant"] = str(faults["wrong_amount"].amount_cents)
        if "test" in faults:
            found["saisie"] = "T"
        return {name: found[name] for name in TOLD if name in found}

    def listed(self) -> dict[str, object]:
        """Describe it: its page opens once, so that its address here is PayFiP's own."""
        more = {"idop": self.idop, "result": self.result, "asked_at": self.asked_at}
        return {**super().listed(), "page": f"/tpa/paiementws.web?idop={self.idop}", **more}


def _authorisation(choice: str) -> dict[str, str]:
    """What the bank gives to a card that pays, or the Treasury to a direct debit."""
    if choice == "payer":
        return {"numauto": secrets.token_hex(3).upper()}
    if choice == "prelever":
        return {"numauto": f"{secrets.randbelow(10**12):012d}-tip"}
    return {}
