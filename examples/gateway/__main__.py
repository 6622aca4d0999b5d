"""Run the simulated gateway: `python -m examples.gateway gateway.toml`."""

import sys
import tomllib
from pathlib import Path

from aiohttp import web

from examples.gateway.payments import Shop
from examples.gateway.server import Gateway

if len(sys.argv) != 2:  # noqa: PLR2004 (the program and its one file)
    sys.exit(__doc__)
config = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
gateway = Gateway([Shop(**shop) for shop in config["shop"]], config.get("retry_seconds", 2))
web.run_app(gateway.application(), host="127.0.0.1", port=config["port"], print=None, access_log=None)
