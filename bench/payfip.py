"""A simulated PayFiP whose payments are all paid, as a process: `python -m bench.payfip PORT COUNT DELAY`."""

import json
import sys

from aiohttp import web

from examples.gateway.operation import Operation
from examples.gateway.payfip import PayFiP, Regie
from examples.gateway.server import Gateway

NUMCLI = "090909"
CENTS = 5_000
REQUEST = {
    "numcli": NUMCLI,
    "saisie": "W",
    "exer": "2026",
    "mel": "x@example.org",
    "montant": str(CENTS),
    "urlnotif": "",
}


def idop(number: int) -> str:
    """The idOp of the payment of that number."""
    return f"idop-{number:06d}"


def _paid(number: int) -> Operation:
    operation = Operation(
        reference=f"R{number}",
        label="Régie",
        cents=CENTS,
        return_url="http://127.0.0.1/",
        request={**REQUEST, "refdet": f"R{number}"},
        idop=idop(number),
    )
    operation.choose("payer", {})
    return operation


def serve(port: int, count: int, delay_seconds: float) -> None:
    """Answer questions about `count` payments, all paid, each after a delay."""
    payfip = PayFiP([Regie(NUMCLI, ["Régie de mesure"])])
    payfip.operations = {operation.idop: operation for operation in map(_paid, range(count))}
    gateway = Gateway([], payfip, retry_seconds=1)
    gateway.faults.spoil_service("payfip", json.dumps({"fault": "slow", "delay_seconds": delay_seconds}).encode())
    web.run_app(gateway.application(), host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
