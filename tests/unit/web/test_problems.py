"""Every problem is documented, stable, and tells its caller what its status owes."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from worker.web import problems
from worker.web.problems import KINDS, MAX_FAULTS, PREFIX, Fault, answer, kind_of_status

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs/errors.md").read_text()


def test_the_document_lists_every_type_with_its_status() -> None:
    """No type is missing in docs/errors.md, none is there that the code does not have, each with its status."""
    listed = dict(re.findall(r"^\| `([a-z-]+)` \| (\d{3}) \|", DOCUMENT, re.MULTILINE))
    assert listed == {kind.slug: str(kind.status) for kind in KINDS}


def test_the_document_lists_every_code() -> None:
    """Each code that the sources give to a fault is explained, and no other."""
    source = "".join(path.read_text() for path in (ROOT / "worker/web").glob("*.py"))
    given = set(re.findall(r'code="([a-z_]+)"', source))
    section = DOCUMENT.partition("## Codes of faults")[2]
    listed = {
        code for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for code in re.findall(r"`(\w+)`", row)
    }
    assert listed - {"code"} == given


def test_types_are_unique() -> None:
    """One URI, one meaning."""
    assert len({kind.type for kind in KINDS}) == len(KINDS)
    assert all(kind.type.startswith(PREFIX) for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.slug)
def test_a_problem_has_rfc_9457_s_members(kind: problems.Kind) -> None:
    """Type, title and status in the body, the same status outside, and the media type."""
    response = answer(kind.problem("why"))
    assert isinstance(response.body, bytes)
    said = json.loads(response.body)
    assert said == {"type": kind.type, "title": kind.title, "status": kind.status, "detail": "why"}
    assert (response.status, response.content_type) == (kind.status, "application/problem+json")
    assert response.headers["Server"] == "lettrage"


def test_who_must_come_back_is_told_when() -> None:
    """401 names its scheme, 429 and 503 have Retry-After."""
    assert answer(problems.UNAUTHORIZED.problem()).headers["WWW-Authenticate"].startswith("Bearer")
    assert int(answer(problems.UNAVAILABLE.problem()).headers["Retry-After"]) > 0
    assert int(answer(problems.TOO_MANY_CALLBACKS.problem()).headers["Retry-After"]) > 0


def test_faults_are_listed_up_to_a_hundred() -> None:
    """An answer stays readable."""
    faults = [Fault(pointer=f"/{n}", code="missing", detail="is required") for n in range(500)]
    said = msgspec.to_builtins(problems.INVALID_EVENT.problem(errors=faults))
    assert [fault["pointer"] for fault in said["errors"]] == [f"/{n}" for n in range(MAX_FAULTS)]


@pytest.mark.parametrize(("status", "slug"), [(404, "not-found"), (418, "bad-request"), (502, "internal")])
def test_any_status_has_a_kind(status: int, slug: str) -> None:
    """What aiohttp refuses with is told in our words."""
    assert kind_of_status(status).slug == slug
