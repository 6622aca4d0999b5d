"""Run the simulated gateway: `python -m examples.gateway gateway.toml`."""

import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from examples.gateway.payfip import OPEN_SECONDS, PURGE_SECONDS, PayFiP, Regie
from examples.gateway.payments import Shop
from examples.gateway.server import Gateway


def payfip(
    regie: Sequence[Mapping[str, Any]] = (),
    open_seconds: float = OPEN_SECONDS,
    purge_seconds: float = PURGE_SECONDS,
) -> PayFiP:
    """Make the web service from its block of the configuration; without one, it knows no régie."""
    return PayFiP([Regie(**table) for table in regie], open_seconds, purge_seconds)


if len(sys.argv) != 2:  # noqa: PLR2004 (the program and its one file)
    sys.exit(__doc__)
config = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
gateway = Gateway(
    [Shop(**shop) for shop in config.get("shop", ())],
    payfip(**config.get("payfip", {})),
    config.get("retry_seconds", 2),
)
web.run_app(gateway.application(), host="127.0.0.1", port=config["port"], print=None, access_log=None)
