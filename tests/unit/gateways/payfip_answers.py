"""PayFiP's SOAP as its service writes it, made here without eopayment or zeep."""

from html import escape

from tests.unit.gateways.serving import Asked, Reaction
from worker.gateways.port import GatewayConfig

SERVICE = (
    "http://securite.service.tpa.cp.finances.gouv.fr/services/mas_securite/contrat_paiement_securise/"
    "PaiementSecuriseService"
)
FAULTS = "fr.gouv.finances.cp.tpa.webservice.exceptions"
IDOP = "cc0cb210-1cd4-11ea-8cca-0213ad91a103"
NUMCLI = "090909"
PAID = {
    "dattrans": "23112026",
    "exer": "2026",
    "heurtrans": "0930",
    "idOp": IDOP,
    "mel": "famille@example.org",
    "montant": "4250",
    "numauto": "112233445566-tip",
    "numcli": NUMCLI,
    "objet": "Cantine de Zoé",
    "refdet": "20261123093000P0001",
    "resultrans": "P",
    "saisie": "W",
}


def regie(url: str, mode: str = "production", **options: object) -> GatewayConfig:
    """A régie whose PayFiP is the machine at that address."""
    known = {"numcli": NUMCLI, "service_url": f"{url}/tpa/services/securite"}
    return GatewayConfig(regie="enfance", kind="payfip_ws", mode=mode, options={**known, **options})


def detail(fields: dict[str, str] | None = None) -> Reaction:
    """`recupererDetailPaiementSecuriseResponse`."""
    return response("recupererDetailPaiementSecurise", PAID if fields is None else fields)


def response(operation: str, fields: dict[str, str]) -> Reaction:
    """An answer with these fields."""
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    return soap(f'<ns2:{operation}Response xmlns:ns2="{SERVICE}"><return>{inner}</return></ns2:{operation}Response>')


def fault(code: str, libelle: str = "", kind: str = "FonctionnelleErreur") -> Reaction:
    """A SOAP fault."""
    said = f"<code>{code}</code><descriptif/><libelle>{escape(libelle)}</libelle><message/><severite>2</severite>"
    return soap(
        f"<S:Fault><faultcode>S:Server</faultcode><faultstring>{FAULTS}.{kind}</faultstring>"
        f'<detail><ns2:{kind} xmlns:ns2="{SERVICE}">{said}</ns2:{kind}></detail></S:Fault>',
        status=500,
    )


def soap(body: str, status: int = 200) -> Reaction:
    """An envelope."""
    envelope = (
        "<?xml version='1.0' encoding='UTF-8'?>"
        f'<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>{body}</S:Body></S:Envelope>'
    )
    return Reaction(status=status, body=envelope.encode(), headers={"Content-Type": "text/xml;charset=utf-8"})


def idop_in(asked: Asked) -> str:
    """The idOp that a question is about."""
    return asked.body.decode().partition("<idOp>")[2].partition("</idOp>")[0]
