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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from worker.gateways.exchange import OK, Deadline, HttpAnswer, exchange, refuse
from worker.gateways.port import GatewayUnavailableError

if TYPE_CHECKING:
    from eopayment.payfip_ws import PayFiPError
    from eopayment.saga import SagaError
    from zeep import Settings
    from zeep.wsdl import Document

FAULT: Final = 500
"""SOAP 1.1 answers a fault with this status."""
NO_FUNCTIONAL_CODE: Final = ("unknown", "inconnu")
"""What the library calls a fault that is not functional, or has no code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SoapAnswer:
    """What a SOAP service said: either a `fault` about the payment, or the fields of its answer that have a value."""

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
        wsdl_url=_DOCUMENTS.parsed(PayFiP().wsdl_url, transport, deadline),  # the library's own copy
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
    if isinstance(cause, zeep.exceptions.Fault) and error.code not in NO_FUNCTIONAL_CODE:
        return str(error.code).strip()
    raise _unavailable(cause if isinstance(cause, Exception) else error, transport) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaAccess:
    """Where a town's Saga is, and who asks it; without a login it is asked by anybody."""

    base_url: str
    login: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def wsdl_url(self) -> str:
        """Where it describes its service. The library has the same rule, out of reach."""
        if "?wsdl" in self.base_url:
            return self.base_url
        secure = "_secure" if self.login or self.password else ""
        return urljoin(self.base_url, f"paiement_internet_ws_ministere{secure}?wsdl")


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaService:
    """What a town's Saga says of itself."""

    address: str
    skew_seconds: float | None


def saga_payment(access: SagaAccess, idop: str, deadline: Deadline) -> SoapAnswer:
    """What Saga says of an idOp (`PageRetourAsynchrone`); `fault` is an error in Saga's own words.

    Raises:
        GatewayUnavailableError: it said nothing sensible.
    """
    from eopayment.saga import Saga, SagaError  # noqa: PLC0415 (see the top)

    transport = _Transport(deadline)
    try:
        saga = Saga(
            wsdl_url=_DOCUMENTS.parsed(access.wsdl_url, transport, deadline),
            login=access.login,
            password=access.password,
            zeep_client_kwargs={"transport": transport, "settings": _settings()},
        )
        fields = saga.page_retour_asynchrone(idop=idop)
    except SagaError as error:
        return _answer(transport, fault=_saga_words(error))
    except Exception as error:
        _DOCUMENTS.forget(access.wsdl_url)  # its service may have moved: its description is read again
        raise _unavailable(error, transport) from error
    return _answer(transport, fields={str(name): str(value) for name, value in fields.items()})


def saga_service(access: SagaAccess, deadline: Deadline) -> SagaService:
    """Where a town's Saga says that it is asked; its description is fetched anew.

    Raises:
        GatewayUnavailableError: it said nothing sensible.
    """
    transport = _Transport(deadline)
    _DOCUMENTS.forget(access.wsdl_url)
    try:
        document = _DOCUMENTS.parsed(access.wsdl_url, transport, deadline)
        (service,) = document.services.values()
        (port,) = service.ports.values()
        address = str(port.binding_options["address"])
    except Exception as error:
        raise _unavailable(error, transport) from error
    return SagaService(address=address, skew_seconds=transport.answer.skew_seconds)


def _saga_words(error: "SagaError") -> str:
    """Its words, if they are Saga's; the library says so with a prefix.

    Raises:
        GatewayUnavailableError: they are the library's, about an answer that it could not read.
    """
    prefix, _, words = str(error).partition("Saga error message: ")
    if prefix or not words:
        raise GatewayUnavailableError("protocol", "not an answer of Saga's")
    return words


def _unavailable(error: Exception, transport: "_Transport") -> GatewayUnavailableError:
    """What trouble of any kind means when it is none of the payment's."""
    import zeep.exceptions  # noqa: PLC0415 (see the top)

    if isinstance(error, GatewayUnavailableError):
        return error
    if isinstance(error, zeep.exceptions.Fault) or transport.answer.status == FAULT:
        return GatewayUnavailableError("malfunction", f"HTTP {transport.answer.status}, {error}")
    return GatewayUnavailableError("protocol", type(error).__name__)


class _Transport:
    """What zeep needs of a transport, for one call of one thread."""

    def __init__(self, deadline: Deadline, address: str | None = None) -> None:
        self._deadline = deadline
        self._address = address
        self.answer = HttpAnswer(status=0, body=b"")

    def load(self, url: str) -> bytes:
        """Fetch a description; the library's own copy is a file."""
        if url.startswith("file:"):
            return Path(urlsplit(url).path).read_bytes()
        self.answer = exchange(self._deadline, "GET", url)
        if self.answer.status != OK:
            raise refuse(self.answer)
        return self.answer.body

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


class _Documents:
    """Parsed descriptions, by address: as many as the configuration has services.

    Parsing takes 80 ms of CPU, and fetching what the network takes: the threads that come meanwhile for the same one
    wait for it instead of doing the same, and no longer than they may.
    """

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}
        self._parsing: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def parsed(self, url: str, transport: _Transport, deadline: Deadline) -> "Document":
        """The description at that address, fetched if it is not known yet."""
        with self._guard:
            parsing = self._parsing.setdefault(url, threading.Lock())
        if not parsing.acquire(timeout=deadline.left()):
            raise GatewayUnavailableError("timeout")
        try:
            known = self._documents.get(url)
            if known is None:
                known = self._documents[url] = _document(url, transport)
            return known
        finally:
            parsing.release()

    def forget(self, url: str) -> None:
        """Fetch it anew next time."""
        self._documents.pop(url, None)


def _document(url: str, transport: Any) -> "Document":  # noqa: ANN401 (zeep names one of its own classes)
    from zeep.wsdl import Document  # noqa: PLC0415 (see the top)

    return Document(url, transport, settings=_settings())


_DOCUMENTS: Final = _Documents()
