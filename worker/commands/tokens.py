"""`lettrage token`: a new client of the API."""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable

import click

from worker.commands.help import Command
from worker.commands.output import as_json, print_json, say
from worker.settings import SCOPES, read

TOKEN_BYTES = 32
"""As many as its SHA-256: nothing shorter to guess, nothing gained by more."""
PREFIX = "lettrage_"
"""So that whoever finds one in a log or a repository knows what it opens."""

_CODE = re.compile(r"\*|[a-z0-9-]{1,40}")


@click.command(
    cls=Command,
    examples=(
        "lettrage token portail --scope events --scope read --regie enfance >> lettrage.toml",
        "lettrage token ops --scope admin --regie '*' --json",
    ),
)
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, help="events, read or admin; may be repeated.")
@click.option("--regie", "regies", multiple=True, required=True, help="A régie's code, or *; may be repeated.")
@as_json
def token(name: str, scopes: tuple[str, ...], regies: tuple[str, ...], *, as_json: bool) -> None:
    """Make a token for the client NAME, and its block for the configuration.

    The block goes to stdout, the token to stderr, once: only its SHA-256 is kept, so give it to
    the client now. Nothing is written anywhere; add the block to lettrage.toml and restart web.

    A client has one token. To replace it, put the new block in the place of the old one; until
    the restart the old token is good, then the new one alone.
    """
    if not re.fullmatch(r"[^\x00-\x1f\x7f]{1,100}", name):
        raise click.BadParameter("1 to 100 characters, none of control", param_hint="NAME")
    _tell_of_another(name)
    chosen = _chosen(scopes, "--scope", lambda scope: scope in SCOPES, "events, read or admin")
    reached = _chosen(regies, "--regie", _CODE.fullmatch, "a code of a-z, 0-9 and -, or *")
    made = PREFIX + secrets.token_urlsafe(TOKEN_BYTES)
    client = {
        "name": name,
        "token_sha256": hashlib.sha256(made.encode()).hexdigest(),
        "scopes": chosen,
        "regies": reached,
    }
    if as_json:
        print_json({"token": made, "client": client})
        return
    # It begins with a line break: what it is appended to may end without one.
    click.echo("\n".join(["", "[[client]]", *(f"{key} = {_toml(value)}" for key, value in client.items())]))
    say(f"The token, shown this once:\n{made}")


def _tell_of_another(name: str) -> None:
    """Say that there is a client of that name: with a second one nothing starts."""
    settings = read(os.environ).settings
    if name in {client.name for client in settings.clients.values()}:
        say(
            f"{settings.config} has a client {name!r} already, and its token is still good.\nTo replace it, put this "
            "block in the place of that one, not beside it, and restart web."
        )


def _chosen(given: Iterable[str], option: str, allowed: Callable[[str], object], what: str) -> list[str]:
    """The values of an option that may be repeated, or hold several with commas, each once."""
    values = [value.strip() for each in given for value in each.split(",")]
    for value in values:
        if not allowed(value):
            raise click.BadParameter(f"{value!r} is not {what}", param_hint=option)
    return list(dict.fromkeys(values))


def _toml(value: object) -> str:
    """A TOML text or list of texts; both are JSON where nothing is a control character."""
    return json.dumps(value, ensure_ascii=False)
