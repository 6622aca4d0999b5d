"""PayFiP's web service for régies, seen from PayFiP: which payments it creates, and what it says of them later.

Its shape is the WSDL's that eopayment ships. Codes: the domain's table, and those that portals report; `E1` and `O1`
(`exer`, `objet`) are ours, as nobody says which ones PayFiP gives there.
"""

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from yarl import URL

from examples.gateway.faults import InForce
from examples.gateway.operation import Operation
from examples.gateway.soap import Call, SoapError

MIN_CENTS, MAX_CENTS = 100, 10_000_000
MAX_URL_CHARS = 250
OPEN_SECONDS = 900
"""An idOp can be opened for 15 minutes."""
PURGE_SECONDS = 86400
"""PayFiP forgets by night what was not paid; here, after a day."""


class DeclaredError(Exception):
    """A fault that the WSDL declares. `kind`: its element; `severity`: PayFiP's, 2 is « refused », 3 is « broken »."""

    def __init__(self, kind: str, code: str, label: str, severity: int) -> None:
        super().__init__(f"fr.gouv.finances.cp.tpa.webservice.exceptions.{kind}")
        self.kind = kind
        self.code = code
        self.fields = {
            "code": code,
            "descriptif": "",
            "libelle": label,
            "message": label,
            "severite": str(severity),
        }


ASKED = ("exer", "mel", "montant", "numcli", "objet", "refdet", "saisie", "urlnotif", "urlredirect")
"""What a portal asks for, in the schema's words."""
LABELS = {
    "A1": "Adresse électronique non renseignée.",
    "A2": "Adresse électronique incorrecte.",
    "D1": "URL de redirection non valide.",
    "E1": "Exercice incorrect.",
    "M1": "Montant incorrect.",
    "M3": "Montant inférieur au minimum autorisé.",
    "M5": "Montant supérieur au maximum autorisé.",
    "N1": "URL de notification non valide.",
    "O1": "Objet incorrect.",
    "P1": "IdOp incorrect.",
    "P3": "IdOp déjà utilisé.",
    "P4": "IdOp enregistré depuis plus de 15 minutes.",
    "P5": "Résultat de la transaction non connu.",
    "R3": "Référence de la dette incorrecte.",
    "S1": "Mode de saisie incorrect.",
    "T1": "Numéro de client incorrect.",
    "T2": "Numéro de client inconnu.",
}
FORMS: Sequence[tuple[str, str, str]] = (
    ("numcli", "T1", r"[0-9]{6}"),
    ("saisie", "S1", r"[TXW]"),
    ("exer", "E1", r"[0-9]{4}"),
    ("refdet", "R3", r"[A-Za-z0-9]{1,30}"),
    ("objet", "O1", r"[A-Za-z0-9 ]{0,100}"),
    ("montant", "M1", r"[0-9]{1,11}"),
    ("mel", "A1", r".+"),
    ("mel", "A2", r"(?=.{6,80}$)[^@\s]+@[^@\s]+"),
)
"""What each parameter must look like, and the code where it does not. Source: eopayment's own checks."""
TECHNICAL: Mapping[str, tuple[str, str]] = {
    "unavailable": ("TechIndisponibiliteErreur", "Service momentanément indisponible."),
    "malfunction": ("TechDysfonctionnementErreur", "Dysfonctionnement du service."),
    "protocol": ("TechProtocolaireErreur", "Erreur de protocole."),
}
"""The technical faults, by what they are called in the control API."""


def refusal(code: str) -> DeclaredError:
    """Refuse a call for a reason of PayFiP's own."""
    return DeclaredError("FonctionnelleErreur", code, LABELS[code], severity=2)


@dataclass
class Regie:
    """A client of PayFiP. `labels`: up to three lines, as the payer reads them."""

    numcli: str
    labels: list[str]


class PayFiP:
    """The service: régies by `numcli`, operations by idOp. `clock` gives seconds since 1970."""

    def __init__(
        self,
        regies: Iterable[Regie] = (),
        open_seconds: float = OPEN_SECONDS,
        purge_seconds: float = PURGE_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.regies = {regie.numcli: regie for regie in regies}
        self.operations: dict[str, Operation] = {}
        self._open_seconds = open_seconds
        self._purge_seconds = purge_seconds
        self._clock = clock

    def hear(self, call: Call) -> Collection[str]:
        """Note when a payment is asked about, whatever the answer; what the control API may call that payment."""
        operation = self.operations.get(call.fields.get("idOp", ""))
        if operation is None:
            return (call.fields.get("refdet", ""),)
        operation.asked_at.append(datetime.fromtimestamp(self._clock(), UTC).isoformat())
        return operation.names

    def answer(self, call: Call, faults: InForce) -> Mapping[str, str]:
        """Answer a call. Raises DeclaredError, and SoapError for an operation that there is not."""
        for name, (kind, label) in TECHNICAL.items():
            if name in faults:
                raise DeclaredError(kind, "999", label, severity=3)
        if call.operation == "creerPaiementSecurise":
            return {"idOp": self.create(call.fields).idop}
        if call.operation == "recupererDetailPaiementSecurise":
            return self._look_up(call.fields.get("idOp", ""), faults)
        if call.operation == "recupererDetailClient":
            return self._describe(call.fields.get("numCli", ""))
        raise SoapError("Client", f"Cannot find dispatch method for {call.operation}")

    def create(self, fields: Mapping[str, str]) -> Operation:
        """Create a payment. Raises DeclaredError."""
        _check(fields)
        regie = self._regie(fields["numcli"])
        operation = Operation(
            reference=fields["refdet"],
            label=", ".join(regie.labels),
            cents=int(fields["montant"]),
            return_url=fields["urlredirect"],
            request={name: fields[name] for name in ASKED if name in fields},
            created=self._clock(),
            now=self._clock,
        )
        self.operations[operation.idop] = operation
        return operation

    def open(self, idop: str) -> Operation:
        """Open the payment page, once. Raises DeclaredError."""
        operation = self._operation(idop)
        if operation.opened:
            raise refusal("P3")
        if self._clock() - operation.created > self._open_seconds:
            raise refusal("P4")
        operation.opened, operation.begun = True, time.monotonic()
        return operation

    def named(self, name: str) -> Operation | None:
        """Find the latest operation of a reference, or the one of an idOp."""
        return next((found for found in reversed(self.operations.values()) if name in found.names), None)

    def _look_up(self, idop: str, faults: InForce) -> dict[str, str]:
        operation = self._operation(idop)
        if operation.result is None:
            raise refusal("P5")
        return operation.told(faults)

    def _describe(self, numcli: str) -> dict[str, str]:
        regie = self._regie(numcli)
        lines = {f"libelleN{number}": label for number, label in enumerate(regie.labels, start=1)}
        return {**lines, "numcli": numcli}

    def _operation(self, idop: str) -> Operation:
        """Find an operation that is known and not purged: only those without a result are, the others last a year."""
        operation = self.operations.get(idop)
        if operation is None:
            raise refusal("P1")
        if operation.result is None and self._clock() - operation.created > self._purge_seconds:
            raise refusal("P1")
        return operation

    def _regie(self, numcli: str) -> Regie:
        regie = self.regies.get(numcli)
        if regie is None:
            raise refusal("T2")
        return regie


def _check(fields: Mapping[str, str]) -> None:
    for name, code, form in FORMS:
        if not re.fullmatch(form, fields.get(name, "")):
            raise refusal(code)
    cents = int(fields["montant"])
    if cents < MIN_CENTS:
        raise refusal("M3")
    if cents > MAX_CENTS:
        raise refusal("M5")
    for name, code in (("urlnotif", "N1"), ("urlredirect", "D1")):
        if not _is_address(fields.get(name, "")):
            raise refusal(code)


def _is_address(text: str) -> bool:
    try:
        url = URL(text)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.host) and len(text) <= MAX_URL_CHARS
