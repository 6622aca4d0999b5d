"""A town's Saga as it speaks: its description, its envelopes, and the XML in them; made here without eopayment."""

from html import escape

from tests.unit.gateways.serving import Asked, Reaction
from worker.gateways.port import GatewayConfig

NAMESPACE = "http://saga.example/paiement"
IDOP = "28b52f40-1ace-11eb-8ce3-0213ad91a104"
PAID = {
    "id_tiers": "-1",
    "etat": "paye",
    "email": "famille@example.org",
    "num_service": "868",
    "montant": "42.50",
    "numcp": "70688",
    "numcpt_lib_ecriture": "Cantine de Zoé",
}


def regie(url: str, mode: str = "production", **options: object) -> GatewayConfig:
    """A régie whose Saga is the machine at that address."""
    known = {"base_url": f"{url}/saga/", "num_service": "868", "compte": "70688"}
    return GatewayConfig(regie="enfance", kind="saga", mode=mode, options={**known, **options})


def described(address: str) -> Reaction:
    """Its WSDL; `address` is where it says that it is asked."""
    operation = "PageRetourAsynchrone"
    return Reaction(
        headers={"Content-Type": "text/xml"},
        body=f"""<?xml version="1.0" encoding="UTF-8"?>
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:tns="{NAMESPACE}" targetNamespace="{NAMESPACE}" name="saga">
  <message name="{operation}Request"><part name="idop" type="xsd:string"/></message>
  <message name="{operation}Response"><part name="return" type="xsd:string"/></message>
  <portType name="sagaPortType">
    <operation name="{operation}">
      <input message="tns:{operation}Request"/><output message="tns:{operation}Response"/>
    </operation>
  </portType>
  <binding name="sagaBinding" type="tns:sagaPortType">
    <soap:binding style="rpc" transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="{operation}">
      <soap:operation soapAction="{NAMESPACE}#{operation}"/>
      <input><soap:body use="literal" namespace="{NAMESPACE}"/></input>
      <output><soap:body use="literal" namespace="{NAMESPACE}"/></output>
    </operation>
  </binding>
  <service name="sagaService">
    <port name="sagaPort" binding="tns:sagaBinding"><soap:address location="{address}"/></port>
  </service>
</definitions>""".encode(),
    )


def ok(fields: dict[str, str]) -> Reaction:
    """The state of a payment."""
    attributes = "".join(f' {name}="{escape(value)}"' for name, value in fields.items())
    return returned(f"<ok{attributes} />")


def erreur(words: str) -> Reaction:
    """An error, in words."""
    return returned(f"<erreur>{escape(words)}</erreur>")


def returned(content: str) -> Reaction:
    """An answer: XML as text, in an envelope."""
    return Reaction(
        headers={"Content-Type": "text/xml"},
        body=(
            '<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/"><SOAP-ENV:Body>'
            f'<ns1:PageRetourAsynchroneResponse xmlns:ns1="{NAMESPACE}">'
            f"<return>{escape(content)}</return>"
            "</ns1:PageRetourAsynchroneResponse></SOAP-ENV:Body></SOAP-ENV:Envelope>"
        ).encode(),
    )


def idop_in(asked: Asked) -> str:
    """The idOp that a question is about."""
    return asked.body.decode().partition("<idop>")[2].partition("</idop>")[0]
