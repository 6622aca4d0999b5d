"""Checks of this machine: Python, time zones, the state folder, the port."""

import errno
import http.client
import json
import shutil
import socket
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from worker.doctor.check import Check, failed, ok, warning
from worker.settings import Settings

OLDEST_PYTHON: Final = (3, 11)
GATEWAY_ZONE: Final = "Europe/Paris"
"""French gateways write their times in it."""
LITTLE_BYTES: Final = 1_000_000_000
"""A few days of a large portal's events."""
TOO_LITTLE_BYTES: Final = 100_000_000
"""PostgreSQL needs some to recover after a crash, and stops for good without."""
ANSWER_SECONDS: Final = 2.0


def python(version: tuple[int, int] = sys.version_info[:2]) -> Check:
    """The interpreter that runs this."""
    shown = ".".join(map(str, version))
    if version < OLDEST_PYTHON:
        return failed("python", f"Python {shown} is too old", "install 3.11 or later and run `make install` again")
    return ok("python", f"Python {shown}")


def time_zones(zone: str = GATEWAY_ZONE) -> Check:
    """Whether gateways' local times can be read."""
    try:
        ZoneInfo(zone)
    except ZoneInfoNotFoundError:
        return failed("time_zones", f"this machine does not know {zone}", "install the system's tzdata package")
    return ok("time_zones", f"{zone} is known")


def state_folder(settings: Settings) -> list[Check]:
    """Whether `lettrage up` can keep its data; the embedded servers' unless both addresses are configured."""
    place = _nearest_existing(settings.state_dir)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        mend = "make it a folder that this user may write in, or set LETTRAGE_STATE_DIR to another one"
        return [failed("state_folder", f"{settings.state_dir} cannot be written: {error.strerror}", mend)]
    return [ok("state_folder", f"{settings.state_dir} can be written"), disk_space(shutil.disk_usage(place).free)]


def disk_space(free_bytes: int) -> Check:
    """Whether the state folder's disk has room."""
    shown = f"{free_bytes / 1e9:.1f} GB free"
    mend = "free some space, or set LETTRAGE_STATE_DIR to another disk"
    if free_bytes < TOO_LITTLE_BYTES:
        return failed("disk", f"{shown}: the database would stop", mend)
    if free_bytes < LITTLE_BYTES:
        return warning("disk", shown, mend)
    return ok("disk", shown)


def port(settings: Settings) -> Check:
    """Whether web has its port, or could have it."""
    where = f"{settings.host}:{settings.port}"
    try:
        try_to_listen(settings.host, settings.port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            mend = "HOST must be an address of this machine, and a PORT below 1024 needs the right to it"
            return failed("port", f"web cannot listen on {where}: {error.strerror or error}", mend)
    else:
        return ok("port", f"{where} is free")
    if "schema" in _readiness(settings):
        return ok("port", f"web answers on {where}")
    return failed("port", f"another program listens on {where}", "stop that one, or set PORT to a free port")


def installation(settings: Settings, ours: str | None) -> list[Check]:
    """Whether the web that answers works on our database; `ours` is what tells that from others."""
    theirs = _readiness(settings).get("installation")
    if ours is None or theirs is None:
        return []  # nobody answers, or cannot tell yet
    where = f"{settings.host}:{settings.port}"
    if theirs == ours:
        return [ok("installation", f"the web on {where} works on this database")]
    mend = "stop that one, or set PORT to a free port; or correct DATABASE_URL (LETTRAGE_STATE_DIR)"
    return [failed("installation", f"the web on {where} is another installation's, on another database", mend)]


def try_to_listen(host: str, number: int) -> None:
    """Listen for an instant.

    Raises:
        OSError: why nobody can; EADDRINUSE when somebody does.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
    with closing(socket.socket(family, kind, protocol)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1)


def _nearest_existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _readiness(settings: Settings) -> dict[str, Any]:
    """What answers there of being ready; only Lettrage tells of a schema. Nothing, when nobody says any such thing."""
    where = urlsplit(settings.own_url)
    with closing(http.client.HTTPConnection(where.hostname or "", where.port, timeout=ANSWER_SECONDS)) as connection:
        try:
            connection.request("GET", "/readyz")
            said = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return {}
    return said if isinstance(said, dict) else {}
