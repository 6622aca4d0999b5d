"""The portal under trial: what is sent to it, what it answers, and what it shows of an invoice if it tells."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import msgspec
from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
)

AT_ONCE: Final = 16
"""More than Lettrage ever sends: four at once from each process."""
MAX_ANSWER_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for what, in seconds."""

    connect: float = 5.0
    """Who has not taken a connection by then is not there."""
    answer: float = 15.0
    """As long as Lettrage waits; the contract's."""
    shown: float = 5.0
    """A portal that answers first and works afterwards shows it within this."""
    steady: float = 1.0
    """For as long it must go on showing the same: what it took in wrongly may show later."""
    poll: float = 0.1


class UnreachableError(Exception):
    """Nobody listens at that address; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request: the status, or in words why there is none; how long it took."""

    status: int | None
    failure: str = ""
    milliseconds: int = 0

    @property
    def accepted(self) -> bool:
        """2xx: the sender will not try again."""
        return self.status is not None and HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def refused(self) -> bool:
        """4xx: the portal says that the sender is wrong."""
        return self.status is not None and HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR

    def __str__(self) -> str:
        return self.failure or f"answered {self.status}"


class Shown(msgspec.Struct, frozen=True):
    """What a state URL answers: the invoice's state as the portal shows it, and the version, if it keeps it."""

    state: str
    version: int | None = None

    def __str__(self) -> str:
        return self.state if self.version is None else f"{self.state} (version {self.version})"


class Portal:
    """A portal at an address of its integrator's choice. No redirect is followed, every wait is bounded."""

    def __init__(self, url: str, patience: Patience, state_url: str | None = None) -> None:
        self._url = url
        self._state_url = state_url
        self.patience = patience
        self._session = ClientSession(
            connector=TCPConnector(limit=AT_ONCE),
            timeout=ClientTimeout(total=patience.answer, sock_connect=patience.connect),
            cookie_jar=DummyCookieJar(),
            headers={"Content-Type": "application/json", "User-Agent": "lettrage"},
        )

    @property
    def shows(self) -> bool:
        """Whether it can be asked what it shows."""
        return self._state_url is not None

    async def close(self) -> None:
        """Hang up."""
        await self._session.close()

    async def post(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request.

        Raises:
            UnreachableError: no connection could be made.
        """
        began = time.monotonic()
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as told:
                await _read(told)
                return Answer(told.status, milliseconds=int((time.monotonic() - began) * 1000))
        except ConnectionTimeoutError:
            raise UnreachableError(f"no connection within {self.patience.connect:g} s") from None
        except TimeoutError:
            return Answer(None, f"did not answer within {self.patience.answer:g} s")
        except ClientSSLError as error:
            raise UnreachableError(f"no TLS that can be trusted ({type(error).__name__})") from None
        except ClientConnectorError as error:
            raise UnreachableError(_in_words(error.os_error)) from None
        except (ClientError, OSError) as error:
            return Answer(None, f"broke the connection ({type(error).__name__})")

    async def shown(self, regie: str, number: str) -> Shown | str:
        """What it shows of an invoice, or in words why that cannot be told."""
        assert self._state_url is not None
        url = self._state_url.replace("{regie}", quote(regie, safe="")).replace("{number}", quote(number, safe=""))
        try:
            async with self._session.get(url, allow_redirects=False) as told:
                if told.status != HTTPStatus.OK:
                    return f"the state URL answered {told.status}"
                return msgspec.json.decode(await _read(told), type=Shown)
        except msgspec.DecodeError:
            return 'the state URL answered something else than {"state": …}'
        except TimeoutError:
            return f"the state URL did not answer within {self.patience.answer:g} s"
        except (ClientError, OSError) as error:
            return f"the state URL does not answer ({type(error).__name__})"


def _in_words(error: OSError) -> str:
    """What the system says; a name that is not found has no number of the system's."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or type(error).__name__


async def _read(answer: ClientResponse) -> bytes:
    """What is said, up to a size that no answer needs."""
    said = b""
    while len(said) < MAX_ANSWER_BYTES and (chunk := await answer.content.readany()):
        said += chunk
    return said
