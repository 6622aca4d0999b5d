"""The contracts as committed files: `python -m tests.contracts write` makes docs/api, `… release` what they must keep.

docs/api/released/openapi.json is what clients rely on. A change that breaks them is named in docs/api/breaks.toml, each
with its reason, until a release makes the new document the one to rely on.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

from tests.compatibility import breaks
from worker.web.contracts.files import files

API: Final = Path(__file__).parents[1] / "docs" / "api"
RELEASED: Final = API / "released" / "openapi.json"
BREAKS: Final = API / "breaks.toml"
NO_BREAKS: Final = """\
# What the next version takes away from clients of the released one, each with its reason:
#
# [[break]]
# change = "GET /v1/regies: answer 200/items[]/label: is gone"
# why = "…"
#
# `make contracts` prints what has to stand here; a release (`make contracts-released`) empties it.
"""


def committed() -> dict[str, bytes]:
    """The documents in docs/api, by their paths there."""
    found = [API / "openapi.json", API / "asyncapi.json", *(API / "schemas").rglob("*.json")]
    return {str(path.relative_to(API)): path.read_bytes() for path in found if path.exists()}


def broken() -> list[str]:
    """What the code's document takes away from clients of the released one."""
    return breaks(json.loads(RELEASED.read_bytes()), json.loads(files()["openapi.json"]))


def explained() -> dict[str, str]:
    """The breaks that are meant, with their reasons."""
    listed: list[dict[str, Any]] = tomllib.loads(BREAKS.read_text("utf-8")).get("break", [])
    return {each["change"]: each["why"] for each in listed}


def write() -> None:
    """Make docs/api what the code says, and say which breaks are not explained."""
    for path in committed().keys() - files().keys():
        (API / path).unlink()
    for path, body in files().items():
        (API / path).parent.mkdir(parents=True, exist_ok=True)
        (API / path).write_bytes(body)
    known = explained()
    for change in (each for each in broken() if each not in known):
        sys.stdout.write(f"breaks clients; mend it, or name it in docs/api/breaks.toml: {json.dumps(change)}\n")


def release() -> None:
    """Make today's document the one that clients rely on."""
    RELEASED.parent.mkdir(parents=True, exist_ok=True)
    RELEASED.write_bytes(files()["openapi.json"])
    BREAKS.write_text(NO_BREAKS, "utf-8")


if __name__ == "__main__":
    {"write": write, "release": release}[sys.argv[1]]()
