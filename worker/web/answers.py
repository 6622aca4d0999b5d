"""Responses that are not problems."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from worker.web.problems import SERVER

_HEADERS: Final = {"Content-Type": "application/json", "Server": SERVER}
_encode = msgspec.json.Encoder().encode


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:  # noqa: ANN401
    """A value as JSON, one line that ends; datetimes become RFC 3339 UTC."""
    sent = CIMultiDict(_HEADERS)
    if headers:
        sent.update(headers)
    return web.Response(status=status, body=_encode(value) + b"\n", headers=sent)
