"""The SOAP services of eopayment 3.15: its WSDL, its requests and its reading of faults, over our own exchange.

Its `PayFiP` keeps a `service_url` and never uses it, its transport sets the time limit on itself for everybody (two
threads would get each other's), waits without end for a slow answer, and follows redirects. So each call has a
transport of its own, which posts where we say; the parsed WSDL alone is shared, and only read.

eopayment's SOAP modules are imported on first use: zeep costs half a second and 25 MB, which a process that never asks
should not pay.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from worker.gateways.exchange import OK, Deadline, HttpAnswer, exchange, refuse
from worker.gateways.port import GatewayUnavailableError

if TYPE_CHECKING:
    from eopayment.payfip_ws import PayFiPError
    from zeep import Settings
    from zeep.wsdl import Document

FAULT: Final = 500
"""SOAP 1.1 answers a fault with this status."""
NO_FUNCTIONAL_CODE: Final = ("unknown", "inconnu")
"""What the library calls a fault that is not functional, or has no code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoapAnswer:
    """What a SOAP service said: either a functional `fault`'s code, or the fields of its answer that have a value."""

    fault: str = ""
    fields: dict[str, str] = field(default_factory=dict, repr=False)
    raw: bytes = field(default=b"", repr=False)
    skew_seconds: float | None = None


def payfip_payment(service_url: str | None, idop: str, deadline: Deadline) -> SoapAnswer:
    """What PayFiP says of an idOp (`recupererDetailPaiementSecurise`).

    Raises:
        GatewayUnavailableError: it said nothing sensible.
    """
    return _payfip(service_url, deadline, lambda payfip: payfip.get_info_paiement(idop))


def payfip_client(service_url: str | None, numcli: str, deadline: Deadline) -> SoapAnswer:
    """What PayFiP calls a client number (`recupererDetailClient`); nothing is paid or created by asking.

    Raises:
        GatewayUnavailableError: it said nothing sensible.
    """
    return _payfip(service_url, deadline, lambda payfip: payfip.get_info_client(numcli))


def _payfip(service_url: str | None, deadline: Deadline, call: Callable[[Any], Any]) -> SoapAnswer:
    from eopayment.payfip_ws import PayFiP, PayFiPError  # noqa: PLC0415 (see the top)

    transport = _Transport(deadline, service_url)
    payfip = PayFiP(
        wsdl_url=_payfip_document(),
        zeep_client_kwargs={"transport": transport, "settings": _settings()},
    )
    try:
        said = call(payfip)
    except PayFiPError as error:
        return _answer(transport, fault=_functional_code(error, transport))
    if said is None:
        raise GatewayUnavailableError("protocol", "empty answer")
    return _answer(transport, fields={name: str(said[name]) for name in said if said[name]})


def _answer(transport: "_Transport", fault: str = "", fields: dict[str, str] | None = None) -> SoapAnswer:
    http = transport.answer
    return SoapAnswer(fault=fault, fields=fields or {}, raw=http.body, skew_seconds=http.skew_seconds)


def _functional_code(error: "PayFiPError", transport: "_Transport") -> str:
    """The code of a functional fault; any other trouble is none of the payment's.

    Raises:
        GatewayUnavailableError: for that other trouble.
    """
    import zeep.exceptions  # noqa: PLC0415 (see the top)

    cause = error.__context__  # the library wraps whatever happened, and keeps it here
    if isinstance(cause, GatewayUnavailableError):
        raise cause
    if isinstance(cause, zeep.exceptions.Fault) and error.code not in NO_FUNCTIONAL_CODE:
        return str(error.code).strip()
    if isinstance(cause, zeep.exceptions.Fault) or transport.answer.status == FAULT:
        raise GatewayUnavailableError("malfunction", f"HTTP {transport.answer.status}, {cause}") from error
    raise GatewayUnavailableError("protocol", type(cause).__name__) from error


class _Transport:
    """What zeep needs of a transport, for one call of one thread."""

    def __init__(self, deadline: Deadline, address: str | None = None) -> None:
        self._deadline = deadline
        self._address = address
        self.answer = HttpAnswer(status=0, body=b"")

    def post_xml(self, address: str, envelope: object, headers: dict[str, str]) -> "_Response":
        """Post the envelope and keep what comes back, byte for byte; to our own address, if we have one."""
        from zeep.wsdl.utils import etree_to_string  # noqa: PLC0415 (see the top)

        body: bytes = etree_to_string(envelope)  # type: ignore[no-untyped-call]  # zeep is typed in part
        self.answer = exchange(self._deadline, "POST", self._address or address, headers, body)
        if self.answer.status not in (OK, FAULT):
            raise refuse(self.answer)
        return _Response(status_code=self.answer.status, content=self.answer.body)

    @contextmanager
    def settings(self, timeout: float | None = None) -> Iterator[None]:
        """The library's time limit, in seconds: it is longer than our deadline."""
        _ = timeout
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class _Response:
    """What zeep reads of an answer. Its type is always XML: a multipart one, which zeep would take apart, is none."""

    status_code: int
    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    encoding: str = "utf-8"


def _settings() -> "Settings":
    """No document types, no entities, nothing fetched from elsewhere: an answer is data."""
    from zeep import Settings  # noqa: PLC0415 (see the top)

    return Settings(forbid_dtd=True, forbid_entities=True, forbid_external=True)


_PARSING = threading.Lock()
"""Parsing takes 80 ms of CPU: the threads that come meanwhile wait for it instead of doing the same."""
_DOCUMENTS: dict[str, "Document"] = {}


def _payfip_document() -> "Document":
    """The library's own copy of PayFiP's WSDL, parsed once."""
    from eopayment.payfip_ws import PayFiP  # noqa: PLC0415 (see the top)
    from zeep.transports import Transport  # noqa: PLC0415 (see the top)
    from zeep.wsdl import Document  # noqa: PLC0415 (see the top)

    with _PARSING:
        if "payfip" not in _DOCUMENTS:
            transport: Any = Transport()  # type: ignore[no-untyped-call]  # zeep is typed in part
            _DOCUMENTS["payfip"] = Document(PayFiP().wsdl_url, transport, settings=_settings())
        return _DOCUMENTS["payfip"]
