"""Run the example portal: `python -m examples.portal portal.toml`."""

import sys
import tomllib
from pathlib import Path

from aiohttp import web

from examples.portal.gateways import KINDS, Gateway
from examples.portal.pages import Family
from examples.portal.server import Portal


def gateway(table: dict[str, str]) -> Gateway:
    """Make a gateway from its block of the configuration."""
    kind = KINDS[table.pop("kind")]
    return kind(**table)


if len(sys.argv) != 2:  # noqa: PLR2004 (the program and its one file)
    sys.exit(__doc__)
config = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
portal = Portal(
    [Family(**family) for family in config["family"]],
    {table["regie"]: gateway(table) for table in config["gateway"]},
    config["lettrage_url"],
    config["token"],
)
web.run_app(portal.application(), host="127.0.0.1", port=config["port"], print=None, access_log=None)
