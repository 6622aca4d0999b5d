"""Run the example portal: `python -m examples.portal portal.toml`.

`python -m examples.portal portal.toml --forget D-1001` forgets a dossier's password, for a family that has lost it.
"""

import sys
import tomllib
from pathlib import Path
from typing import Any

from aiohttp import web

from examples.portal.families import Family, Registry
from examples.portal.gateways import KINDS, Gateway
from examples.portal.memory import Memory
from examples.portal.server import Portal, Settings


def gateway(table: dict[str, str]) -> Gateway:
    """Make a gateway from its block of the configuration."""
    kind = KINDS[table.pop("kind")]
    return kind(**table)


def settings(config: dict[str, Any]) -> Settings:
    """What the file says of the portal itself."""
    state, documents = (Path(config[key]) if key in config else None for key in ("state", "documents"))
    public_url = config["public_url"].rstrip("/")
    secrets = config.get("notification_secrets", [])
    return Settings(public_url, config["lettrage_url"], config["token"], state, documents, secrets)


def serve(config: dict[str, Any]) -> None:
    """Serve until stopped."""
    portal = Portal(
        Registry(Family(**family) for family in config["family"]),
        {table["regie"]: gateway(table) for table in config["gateway"]},
        settings(config),
    )
    web.run_app(portal.application(), host="127.0.0.1", port=config["port"], print=None, access_log=None)


def forget(config: dict[str, Any], account: str) -> None:
    """Forget a password: the family has a first visit again."""
    state = settings(config).state
    if state is None:
        sys.exit("no `state` in the configuration: passwords are forgotten when the portal stops")
    if not Memory(state).forget(account):
        sys.exit(f"{account} has no password")
    print(f"{account} has no password any more, and is signed out")


match sys.argv[1:]:
    case [file]:
        serve(tomllib.loads(Path(file).read_text(encoding="utf-8")))
    case [file, "--forget", account]:
        forget(tomllib.loads(Path(file).read_text(encoding="utf-8")), account)
    case _:
        sys.exit(__doc__)
