"""PayFiP's web service, as far as a portal needs it: creating a payment. SOAP without a library, to copy anywhere.

The shape is that of the WSDL that PayFiP publishes. What became of a payment is Lettrage's to ask.
"""

from collections.abc import Mapping
from html import escape
from xml.etree import ElementTree as ET

import aiohttp

ENVELOPE = "http://schemas.xmlsoap.org/soap/envelope/"
SERVICE = (
    "http://securite.service.tpa.cp.finances.gouv.fr/services/mas_securite/contrat_paiement_securise"
    "/PaiementSecuriseService"
)
TIMEOUT_SECONDS = 15
"""What eopayment waits, too; the family sees nothing meanwhile."""
MAX_ANSWER_BYTES = 64 * 1024
"""An answer has a few hundred."""


class PayFiPError(Exception):
    """PayFiP did not create the payment; `code` is its own where it gave one."""

    def __init__(self, said: str, code: str = "") -> None:
        super().__init__(f"PayFiP: {code} {said}")
        self.code = code


async def create_payment(url: str, fields: Mapping[str, str]) -> str:
    """Create a payment and return its idOp. `fields`: the request's, in the schema's order. Raises PayFiPError."""
    headers = {"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=_request(fields), headers=headers, allow_redirects=False) as response,
        ):
            return _idop(await _bounded(response.content))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise PayFiPError(repr(error)) from error


def _request(fields: Mapping[str, str]) -> bytes:
    told = "".join(f"<{name}>{escape(text, quote=False)}</{name}>" for name, text in fields.items())
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><S:Envelope xmlns:S="{ENVELOPE}"><S:Body>'
        f'<p:creerPaiementSecurise xmlns:p="{SERVICE}"><arg0>{told}</arg0></p:creerPaiementSecurise>'
        "</S:Body></S:Envelope>"
    ).encode()


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    answer = b""
    async for chunk in content.iter_any():
        answer += chunk
        if len(answer) > MAX_ANSWER_BYTES:
            raise PayFiPError("the answer is too long")
    return answer


class _WithoutDoctype(ET.TreeBuilder):
    """SOAP allows no document type; without one there are no entities that eat memory or read files."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        """Stop before any declaration is read."""
        raise PayFiPError("the answer has a document type")


def _idop(answer: bytes) -> str:
    parser = ET.XMLParser(target=_WithoutDoctype())  # noqa: S314 (no document type, so no entity)
    try:
        parser.feed(answer)
        envelope: ET.Element = parser.close()
    except (ET.ParseError, ValueError, LookupError) as error:  # the last two: an unknown encoding
        raise PayFiPError("the answer is not XML") from error
    idop = envelope.findtext(f"{{{ENVELOPE}}}Body/{{{SERVICE}}}creerPaiementSecuriseResponse/return/idOp")
    if not idop:
        fault = envelope.find(f"{{{ENVELOPE}}}Body/{{{ENVELOPE}}}Fault")
        raise _told(fault) if fault is not None else PayFiPError("neither an idOp nor a fault")
    return idop


def _told(fault: ET.Element) -> PayFiPError:
    said = fault.findtext("detail/*/libelle") or fault.findtext("faultstring") or "a fault without a word"
    return PayFiPError(said, fault.findtext("detail/*/code") or "")
