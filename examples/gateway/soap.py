"""SOAP 1.1 as PayFiP speaks it: document/literal, one `arg0` in, one `return` out; nothing of payments."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from xml.etree import ElementTree as ET

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
SERVICE = (
    "http://securite.service.tpa.cp.finances.gouv.fr/services/mas_securite/contrat_paiement_securise"
    "/PaiementSecuriseService"
)
"""The WSDL's target namespace: operations and details of faults are in it, what is inside them is in none."""


@dataclass(frozen=True)
class Call:
    """What is asked for: an operation's name, the texts of its `arg0` by name."""

    operation: str
    fields: Mapping[str, str]


class SoapError(Exception):
    """A message that SOAP itself refuses. `code` is SOAP's: `Client` or `VersionMismatch`."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class _WithoutDoctype(ET.TreeBuilder):
    """SOAP 1.1, section 3, allows no document type; without one there are no entities to expand or to fetch."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Stop before any declaration is read."""
        raise SoapError("Client", "A SOAP message must not contain a document type declaration")


def read(body: bytes) -> Call:
    """Read a call; its size is for the caller to bound. Raises SoapError."""
    envelope = _parsed(body)
    if envelope.tag != f"{{{ENVELOPE}}}Envelope":
        raise SoapError("VersionMismatch", f"Expected a SOAP 1.1 envelope, found {envelope.tag}")
    wrapper = envelope.find(f"{{{ENVELOPE}}}Body/*")
    if wrapper is None:
        raise SoapError("Client", "The body of the envelope is empty")
    namespace, _, operation = wrapper.tag.removeprefix("{").rpartition("}")
    if namespace != SERVICE:
        raise SoapError("Client", f"Cannot find dispatch method for {wrapper.tag}")
    return Call(operation, {child.tag: child.text or "" for child in wrapper.findall("arg0/*")})


def _parsed(body: bytes) -> ET.Element:
    parser = ET.XMLParser(target=_WithoutDoctype())  # noqa: S314 (no doctype, so no entity)
    try:
        parser.feed(body)
        root: ET.Element = parser.close()
    except (ET.ParseError, ValueError, LookupError) as error:  # the last two: an unknown encoding
        raise SoapError("Client", f"Couldn't create SOAP message: {error}") from error
    return root


def answer(operation: str, fields: Mapping[str, str]) -> bytes:
    """Write an answer; `fields` are in the order of the schema's sequence."""
    returned = "".join(_element(name, text) for name, text in fields.items())
    return _envelope(
        f'<ns2:{operation}Response xmlns:ns2="{SERVICE}"><return>{returned}</return></ns2:{operation}Response>'
    )


def fault(code: str, text: str, detail: str = "") -> bytes:
    """Write a fault; `code` is SOAP's, `detail` comes from `declared`."""
    told = f"<detail>{detail}</detail>" if detail else ""
    said = _element("faultcode", f"S:{code}") + _element("faultstring", text)
    return _envelope(f"<S:Fault>{said}{told}</S:Fault>")


def declared(kind: str, fields: Mapping[str, str]) -> str:
    """Write the detail of a fault that the WSDL declares."""
    told = "".join(_element(name, text) for name, text in fields.items())
    return f'<ns2:{kind} xmlns:ns2="{SERVICE}">{told}</ns2:{kind}>'


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text, quote=False)}</{name}>"


def _envelope(content: str) -> bytes:
    head = f'<?xml version="1.0" encoding="UTF-8"?><S:Envelope xmlns:S="{ENVELOPE}">'
    return f"{head}<S:Body>{content}</S:Body></S:Envelope>".encode()
