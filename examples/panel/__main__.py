"""Run the demo's panel: `python -m examples.panel panel.toml`."""

import sys
import tomllib
from pathlib import Path

from aiohttp import web

from examples.panel.server import Panel, Settings

match sys.argv[1:]:
    case [file]:
        config = tomllib.loads(Path(file).read_text(encoding="utf-8"))
        port = config.pop("port")
        web.run_app(Panel(Settings(**config)).application(), host="127.0.0.1", port=port, print=None, access_log=None)
    case _:
        sys.exit(__doc__)
