"""TIPI's answers are shown and never believed, whatever they say."""

from urllib.parse import urlencode

import pytest

from schemas.reports import Report, ReportResult
from tests.unit.gateways.reading import report_of
from worker.gateways.interpret import ASKERS, peek
from worker.gateways.port import GatewayConfig

PAID = {
    "numcli": "090909",
    "exer": "2026",
    "refdet": "20261123093000P0001",
    "montant": "4250",
    "mel": "famille@example.org",
    "objet": "Cantine de Zoé",
    "saisie": "A",
    "resultrans": "P",
    "numauto": "112233",
    "dattrans": "23112026",
    "heurtrans": "0930",
}


def said(fields: dict[str, str], mode: str = "production") -> Report:
    """What comes of an answer."""
    gateway = GatewayConfig(regie="enfance", kind="tipi", mode=mode, options={"numcli": "090909"})
    report = report_of(gateway, "GET", urlencode(fields), b"")
    in_body = report_of(gateway, "POST", "", urlencode(fields).encode())
    assert report == in_body
    return report


@pytest.mark.parametrize("mode", ["production", "test"])
@pytest.mark.parametrize("resultrans", ["P", "R", "A", "Z", ""])
@pytest.mark.parametrize("saisie", ["A", "T", "X"])
def test_nothing_that_it_says_is_proof(mode: str, resultrans: str, saisie: str) -> None:
    """The library says signed=True for any of these; anybody can type one into an address bar."""
    report = said({**PAID, "resultrans": resultrans, "saisie": saisie}, mode)
    assert (report.verified, report.result, report.why) == (False, ReportResult.NOTHING, "gateway_proves_nothing")
    assert report.cents is None


def test_what_it_claims_is_shown_without_the_family() -> None:
    """A régisseur looks for it in the account."""
    report = said(PAID)
    assert report.gateway_reference == PAID["refdet"] == peek("tipi", urlencode(PAID), b"")
    assert report.detail == {"refdet": PAID["refdet"], "resultrans": "P", "montant": "4250", "saisie": "A"}


@pytest.mark.parametrize(
    ("mode", "saisie", "test"), [("production", "T", True), ("test", "T", False), ("test", "A", False)]
)
def test_one_that_says_test_in_production_is_shown_as_that(mode: str, saisie: str, test: bool) -> None:  # noqa: FBT001
    """Whoever signed it, or nobody."""
    assert said({**PAID, "saisie": saisie}, mode).test is test


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "unparsable"),
        ({"resultrans": "P"}, "reference_unreadable"),
        ({**PAID, "refdet": ""}, "reference_unreadable"),
    ],
)
def test_one_about_nothing_is_unreadable(fields: dict[str, str], why: str) -> None:
    """Kept all the same."""
    report = said(fields)
    assert (report.verified, report.gateway_reference, report.why) == (False, "", why)


def test_there_is_nobody_to_ask() -> None:
    """Nor is TIPI asked by mistake."""
    assert "tipi" not in ASKERS
