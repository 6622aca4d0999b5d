"""The invoices' documents: what a town's billing software would print, as PDF, one page each."""

from pathlib import Path
from typing import Final

from worker.demonstration.families import Invoice

PAGE: Final = (
    "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>"
)
"""A4, in points."""
FONT: Final = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"
"""One of the fourteen that every reader has."""


def write_document(folder: Path, invoice: Invoice) -> None:
    """Write an invoice's document where the portal looks for it: `REGIE/NUMBER.pdf`."""
    file = folder / invoice.regie / f"{invoice.number}.pdf"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(document(invoice))


def document(invoice: Invoice) -> bytes:
    """The page: who owes what, and for what."""
    euros = f"{invoice.cents // 100},{invoice.cents % 100:02d} €"
    lines = [
        (22, f"Facture {invoice.number}"),
        (13, f"{invoice.family.name}, dossier {invoice.family.account}"),
        (13, invoice.label),
        (16, f"Montant : {euros}"),
        (11, "Démonstration : cette somme est inventée."),
    ]
    text = "BT 60 740 Td " + " ".join(f"/F {size} Tf ({_escaped(line)}) Tj 0 -40 Td" for size, line in lines) + " ET"
    return _file(text.encode("cp1252", "replace"))


def _escaped(line: str) -> str:
    return line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _file(content: bytes) -> bytes:
    """A PDF of one page: its objects, then where each of them begins."""
    stream = f"<< /Length {len(content)} >>\nstream\n".encode() + content + b"\nendstream"
    catalog, pages = b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
    written, begins = b"%PDF-1.4\n", []
    for number, told in enumerate((catalog, pages, PAGE.encode(), stream, FONT.encode()), start=1):
        begins.append(len(written))
        written += b"%d 0 obj\n" % number + told + b"\nendobj\n"
    table = b"".join(b"%010d 00000 n \n" % begin for begin in begins)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(begins) + 1)
    tail = b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(begins) + 1, len(written))
    return written + head + table + tail
