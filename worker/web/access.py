"""Who calls: a bearer token, known by its hash, with its scopes and régies. Source: the contract's "HTTP"."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from aiohttp import web

from worker.settings import Client
from worker.web.problems import REGIE_FORBIDDEN, SCOPE_MISSING, UNAUTHORIZED, Refused

MAX_TOKEN_CHARS: Final = 1000
"""Longer than any token that we make; nobody needs us to hash more."""


def caller(request: web.Request, clients: Mapping[str, Client], scope: str) -> Client:
    """The client whose token a request has, if it has that scope.

    The token is looked up by its SHA-256, so that how long it takes says nothing about any token.

    Raises:
        Refused: 401 without a known token, 403 without the scope.
    """
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or len(token) > MAX_TOKEN_CHARS:
        raise Refused(UNAUTHORIZED.problem("Send Authorization: Bearer and the token"))
    client = clients.get(sha256(token.strip().encode("utf-8", "surrogateescape")).hexdigest())
    if client is None:
        raise Refused(UNAUTHORIZED.problem("No client has this token"))
    if scope not in client.scopes:
        raise Refused(SCOPE_MISSING.problem(f"{client.name} does not have the scope {scope!r}"))
    return client


def check_regie(client: Client, regie: str) -> None:
    """Let a client through to its own régies.

    Raises:
        Refused: 403; it does not say whether there is such a régie.
    """
    if not client.reaches(regie):
        raise Refused(REGIE_FORBIDDEN.problem(f"{client.name} may not see this régie"))
