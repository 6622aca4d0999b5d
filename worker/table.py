"""One table of the configuration's TOML file, read so that every fault is noted and none stops the reading.

Messages name the key and what is allowed there. Values are quoted, except where a secret may stand.
"""

import difflib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from worker.secret import LITERAL, Secret, SecretError, find_secret, is_reference

MAX_DURATION_SECONDS: Final = 366 * 24 * 3600
"""A year: no gateway answers later, and far below what overflows a timestamp."""
MAX_MONTHS: Final = 120
"""Ten years: longer than anybody may have to account for a payment."""
MAX_QUOTED_CHARS: Final = 60
"""A wrong value is quoted up to here."""
_DURATION = re.compile(r"([0-9]{1,9})([smh])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of the configuration: which key, and what is allowed there. Never a secret's value."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"{self.key}: {self.message}"


class Faults:
    """What was met while reading; reading goes on, so that all of it is told at once."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def add(self, key: str, message: str) -> None:
        """Note what keeps everything from starting."""
        self.problems.append(Problem(key, message))

    def warn(self, key: str, message: str) -> None:
        """Note what stops nothing."""
        self.warnings.append(Problem(key, message))


@dataclass(frozen=True, slots=True)
class Source:
    """Where values and secrets come from: the environment, and the folder of the TOML file."""

    environ: Mapping[str, str]
    folder: Path
    faults: Faults


class Table:
    """One table of the TOML file; a method takes one value, or notes its fault and answers a stand-in."""

    def __init__(self, key: str, values: Mapping[str, Any], source: Source) -> None:
        self.prefix = f"{key}." if key else ""
        self.values = values
        self.source = source
        self.faults = source.faults

    def key(self, name: str) -> str:
        """The whole key of a name in this table, as messages tell it."""
        return f"{self.prefix}{name}"

    def fault(self, name: str, message: str) -> None:
        """Note a fault of one of its keys."""
        self.faults.add(self.key(name), message)

    def refuse_unknown(self, known: Collection[str]) -> None:
        """Note each key that is not known, with the nearest one that is."""
        for name in self.values:
            if name not in known:
                self.fault(name, f"unknown key; {nearest(name, known)}")

    def tables(self, name: str) -> list["Table"]:
        """The tables of an array of tables, each named by what names it, else by its position from 1."""
        found = self.values.get(name, [])
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            self.fault(name, f"write each one as a block that begins with [[{name}]]")
            return []
        return [Table(f"{name}.{_title(item, index)}", item, self.source) for index, item in enumerate(found, 1)]

    def table(self, name: str) -> "Table | None":
        """The table of that name, None without one."""
        found = self.values.get(name)
        if found is None:
            return None
        if not isinstance(found, dict):
            self.fault(name, f"write it as a block that begins with [regie.{name}]")
            return None
        return Table(self.key(name), found, self.source)

    def text(self, name: str, pattern: re.Pattern[str], allowed: str) -> str | None:
        """A text that must be there; `allowed` says what the pattern means."""
        value = self.values.get(name)
        if value is None:
            self.fault(name, f"missing; {allowed}")
        elif not isinstance(value, str) or not pattern.fullmatch(value):
            self.fault(name, f"{quoted(value)} is not allowed; {allowed}")
        else:
            return value
        return None

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """One of the allowed values; the first is the default."""
        value = self.values.get(name, allowed[0])
        if value in allowed:
            return str(value)
        self.fault(name, f"{quoted(value)} is not allowed; one of {listed(allowed)}")
        return allowed[0]

    def strings(self, name: str) -> list[str]:
        """A list of texts, empty without one."""
        value = self.values.get(name, [])
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return list(value)
        self.fault(name, 'a list of texts, such as ["a", "b"]')
        return []

    def seconds(self, name: str, default: int) -> int:
        """The seconds of a duration."""
        if name not in self.values:
            return default
        seconds = duration_seconds(self.values[name])
        if seconds is None:
            self.fault(
                name,
                f"{quoted(self.values[name])} is not a duration; "
                'a whole number of s, m or h, from "1s" to "8784h", such as "30s", "30m" or "2h"',
            )
            return default
        return seconds

    def secret(self, name: str) -> Secret | None:
        """A secret that must be there."""
        value = self.values.get(name)
        if not isinstance(value, str) or not value:
            self.fault(name, 'missing; "env:NAME" or "file:PATH"')
            return None
        return self.found_secret(name, value)

    def found_secret(self, name: str, text: str) -> Secret | None:
        """The secret that a text stands for; a literal is warned of."""
        try:
            secret = find_secret(text, self.source.environ, self.source.folder)
        except SecretError as error:
            self.fault(name, str(error))
            return None
        if secret.source == LITERAL:
            self.faults.warn(
                self.key(name),
                'a secret in clear in the configuration; write "env:NAME" or "file:PATH" and keep it there',
            )
        return secret

    def setting(self, name: str, variable: str) -> tuple[str, object]:
        """The key that speaks, and its value: the environment's, else the file's, else None."""
        if self.source.environ.get(variable):
            return variable, self.source.environ[variable]
        return self.key(name), self.values.get(name)

    def server(self, name: str, variable: str) -> str | None:
        """An address to listen on."""
        key, value = self.setting(name, variable)
        if value is None:
            return None
        if isinstance(value, str) and re.fullmatch(r"[0-9A-Za-z.:_-]{1,253}", value):
            return value
        self.faults.add(key, f'{quoted(value)} is not an address; such as "127.0.0.1", "0.0.0.0" or "::"')
        return None

    def port(self, name: str, variable: str) -> int | None:
        """A TCP port."""
        key, value = self.setting(name, variable)
        if value is None:
            return None
        number = _whole(value)
        if number is None or not 1 <= number <= 65_535:  # noqa: PLR2004 (what a TCP port is)
            self.faults.add(key, f"{quoted(value)} is not a port; a whole number from 1 to 65535")
            return None
        return number

    def months(self, name: str, variable: str) -> int | None:
        """A number of calendar months."""
        key, value = self.setting(name, variable)
        if value is None:
            return None
        number = _whole(value)
        if number is None or not 1 <= number <= MAX_MONTHS:
            self.faults.add(key, f"{quoted(value)} is not a number of months; a whole number from 1 to {MAX_MONTHS}")
            return None
        return number

    def networks(self, name: str, variable: str) -> tuple[IPv4Network | IPv6Network, ...]:
        """IP addresses and networks: a list, or text with commas."""
        key, value = self.setting(name, variable)
        if value is None:
            return ()
        found = []
        for each in value if isinstance(value, list) else str(value).split(","):
            try:
                found.append(ip_network(str(each).strip()))
            except ValueError:
                self.faults.add(key, f'{quoted(each)} is not an IP address or network; such as "10.0.0.0/8"')
        return tuple(found)

    def address(self, name: str, variable: str, schemes: tuple[str, ...]) -> str | None:
        """A server's URL. It may hold a password: no message quotes it."""
        key, value = self.setting(name, variable)
        if value is None:
            return None
        text = self._resolved(key, value)
        if text is None:
            return None
        if usable_url(text) is None or not text.startswith(tuple(f"{scheme}://" for scheme in schemes)):
            self.faults.add(key, f"not an address that begins with {listed(f'{s}://' for s in schemes)}")
            return None
        return text

    def _resolved(self, key: str, value: object) -> str | None:
        if not isinstance(value, str):
            self.faults.add(key, "a text")
            return None
        if not is_reference(value):
            return value
        try:
            return find_secret(value, self.source.environ, self.source.folder).reveal()
        except SecretError as error:
            self.faults.add(key, str(error))
            return None


def duration_seconds(text: object) -> int | None:
    """Seconds of a whole number of s, m or h from 1s to a year; None for anything else."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    seconds = int(match[1]) * _SECONDS[match[2]]
    return seconds if 1 <= seconds <= MAX_DURATION_SECONDS else None


def _title(values: Mapping[str, Any], position: int) -> str:
    for name in ("code", "name"):
        value = values.get(name)
        if isinstance(value, str) and re.fullmatch(r"[\w-]{1,40}", value):
            return value
    return f"#{position}"


def usable_url(text: str) -> SplitResult | None:
    """The parts of a URL, None when it has none that can be used."""
    try:
        url = urlsplit(text)
        _ = url.port  # raises when it is not a number
    except ValueError:
        return None
    return url if url.scheme and text.isprintable() and " " not in text else None


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len("100000")
    return int(str(value)) if digits else None


def quoted(value: object) -> str:
    """A wrong value as its file has it, shortened."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MAX_QUOTED_CHARS else f"{text[:MAX_QUOTED_CHARS]}…"


def listed(values: Iterable[str]) -> str:
    """Allowed values, with commas."""
    return ", ".join(f'"{value}"' for value in values)


def nearest(name: str, known: Collection[str]) -> str:
    """The known name that was probably meant, else all of them."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known are {listed(known)}" if known else "there is none yet"
