"""Reading a request's body: bounded in size and in time, however slowly or wrongly it comes."""

import asyncio
from typing import Final, TypeVar

import msgspec
from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from worker.web.cloudevents import decoded
from worker.web.problems import (
    BAD_REQUEST,
    INVALID_REQUEST,
    NOT_JSON,
    TOO_LARGE,
    TOO_SLOW,
    UNSUPPORTED_MEDIA_TYPE,
    Refused,
)
from worker.web.shape import faults

Shape = TypeVar("Shape", bound=msgspec.Struct)

BODY_SECONDS: Final = 10.0
"""A megabyte over a poor line; a client that drips bytes is hung up on."""


async def body_of(request: web.Request, limit: int) -> bytes:
    """The whole body, at most `limit` bytes.

    Raises:
        Refused: too large, too slow, or broken on the way.
    """
    length = request.content_length
    if length is not None and length > limit:
        raise Refused(TOO_LARGE.problem(f"At most {limit} bytes, not {length}"))
    content = request.content
    try:
        if content.is_eof():
            return _bounded(content.read_nowait(), limit)
        async with asyncio.timeout(BODY_SECONDS):
            return await _slowly(request, limit)
    except TimeoutError:
        raise Refused(TOO_SLOW.problem(f"The body did not arrive within {BODY_SECONDS:g} s")) from None
    except (RequestPayloadError, HttpProcessingError, ClientError):
        raise Refused(BAD_REQUEST.problem("The body ended early, or its transfer encoding is broken")) from None


def asked_for(body: bytes, shape: type[Shape]) -> Shape:
    """What a JSON body asks for.

    Raises:
        Refused: 400 for what is no JSON, 422 with every fault of it.
    """
    try:
        value = decoded(body)
    except ValueError as error:
        raise Refused(NOT_JSON.problem(str(error))) from None
    try:
        return msgspec.convert(value, shape)
    except (msgspec.ValidationError, OverflowError):
        raise Refused(INVALID_REQUEST.problem(errors=faults(value, shape))) from None


def refuse_encoded(request: web.Request) -> None:
    """Nothing is decompressed: a kilobyte could become a gigabyte.

    Raises:
        Refused: 415 for a body that says it is compressed.
    """
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.strip().lower() not in {"", "identity"}:
        raise Refused(UNSUPPORTED_MEDIA_TYPE.problem("Send the body without Content-Encoding"))


async def _slowly(request: web.Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    left = limit
    while chunk := await request.content.readany():
        chunks.append(_bounded(chunk, left))
        left -= len(chunk)
    return b"".join(chunks)


def _bounded(received: bytes, limit: int) -> bytes:
    if len(received) > limit:
        raise Refused(TOO_LARGE.problem("More bytes than this address takes"))
    return received
