"""What commands print: data on stdout, for machines with `--json`, else for people in columns; the rest on stderr."""

import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec

Command = TypeVar("Command", bound=Callable[..., Any])

MISSING = "-"


def as_json(command: Command) -> Command:
    """The `--json` option of a command that prints data."""
    return click.option("as_json", "--json", is_flag=True, help="Print one JSON document, for programs.")(command)


def print_json(value: object) -> None:
    """One JSON document on stdout, indented for a person who looks."""
    encoded = msgspec.json.encode(value)
    click.echo(msgspec.json.format(encoded, indent=2) if sys.stdout.isatty() else encoded)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Names and values, one a line."""
    shown = [(name, text(value)) for name, value in fields]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        click.echo(f"{name:<{width}}  {value}")


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows in columns, under their titles; the last column is as wide as it likes."""
    shown = [titles, *([text(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(titles))]
    for row in shown:
        click.echo("  ".join(f"{value:<{width}}" for value, width in zip(row, widths, strict=True)).rstrip())


def text(value: object) -> str:
    """A value as people read it, on one line."""
    match value:
        case None | "":
            return MISSING
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")
        case _:
            return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(value))


def euros(cents: int | None) -> str:
    """An amount of cents as people read it."""
    if cents is None:
        return MISSING
    sign = "-" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100}.{abs(cents) % 100:02d} EUR"


def say(message: str) -> None:
    """A word to the person, on stderr."""
    click.echo(message, err=True)


class Progress:
    """A count on the terminal that is written over as it grows; nothing where there is no terminal."""

    def __init__(self, noun: str) -> None:
        self._noun = noun
        self._shows = sys.stderr.isatty()

    def show(self, done: int) -> None:
        """Say how many are done."""
        if self._shows:
            click.echo(f"\r\x1b[2K{done:,} {self._noun} …", nl=False, err=True)

    def end(self) -> None:
        """Leave the line to whoever writes next."""
        if self._shows:
            click.echo("\r\x1b[2K", nl=False, err=True)
