"""Secrets of the configuration: named in it, kept elsewhere, never shown."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MAX_SECRET_BYTES = 65_536
"""A private key has a few thousand; a larger file is not a secret but a mistake."""

LITERAL = "literal"
_NAMES_A_SECRET = re.compile(r"secret|password|passphrase|api_key|token|private|^sha_(in|out)$|^cle$")


class SecretError(Exception):
    """A secret cannot be had. The message says where it was looked for, never what was found."""


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that no log, traceback or screen shows. `source` is `env:NAME`, `file:PATH` or `literal`."""

    _value: str = field(repr=False)
    source: str = LITERAL

    def reveal(self) -> str:
        """The value itself: for the one call that needs it."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({self.source})"

    __str__ = __repr__

    @property
    def file(self) -> Path | None:
        """The file that it was read from, so that its permissions can be examined."""
        kind, _, place = self.source.partition(":")
        return Path(place) if kind == "file" else None


def names_a_secret(option: str) -> bool:
    """Whether an option of that name holds a secret, in any of eopayment's gateways."""
    return bool(_NAMES_A_SECRET.search(option.lower()))


def is_reference(text: str) -> bool:
    """Whether the text says where a secret is, instead of being one."""
    return text.startswith(("env:", "file:"))


def find_secret(text: str, environ: Mapping[str, str], folder: Path) -> Secret:
    """The secret that `env:NAME`, `file:PATH` (relative to `folder`) or a literal stands for.

    Raises:
        SecretError: it is absent, empty or unreadable.
    """
    kind, _, place = text.partition(":")
    if kind == "env":
        return Secret(_from_environment(place, environ), text)
    if kind == "file":
        path = folder / Path(place).expanduser()
        return Secret(_from_file(path), f"file:{path}")
    return Secret(text)


def _from_environment(name: str, environ: Mapping[str, str]) -> str:
    value = environ.get(name, "")
    if not value:
        raise SecretError(f"the environment variable {name!r} is not set, or empty")
    return value


def _from_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SecretError(f"the file {path} cannot be read: {error.strerror}") from None
    if len(content) > MAX_SECRET_BYTES:
        raise SecretError(f"the file {path} is larger than {MAX_SECRET_BYTES} bytes")
    return _text(content, path)


def _text(content: bytes, path: Path) -> str:
    try:
        text = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise SecretError(f"the file {path} is not UTF-8 text") from None
    if not text:
        raise SecretError(f"the file {path} is empty")
    return text
