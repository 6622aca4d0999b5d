"""`lettrage portal check`: an integrator tries their own portal."""

import asyncio
import base64
import binascii
import os
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

import click

from worker.commands.exits import FAILED, TryLater
from worker.commands.help import Command
from worker.commands.output import as_json, print_json, say, text
from worker.conformance.check import Trial
from worker.conformance.finding import Finding, Result
from worker.conformance.portal import Patience, Portal, UnreachableError
from worker.conformance.samples import Samples
from worker.portals.signing import PREFIX
from worker.secret import SecretError, find_secret, is_reference
from worker.table import usable_url

SIGNS: Final = {Result.OK: "ok       ", Result.FAULT: "FAULT    ", Result.UNCHECKED: "unchecked"}
COLOURS: Final = {Result.OK: "green", Result.FAULT: "red", Result.UNCHECKED: "yellow"}


@click.group()
def portal() -> None:
    """Try a portal that is to be told of its invoices."""


@portal.command(
    short_help="Send a portal sample notifications and say what it did wrong.",
    cls=Command,
    examples=(
        "lettrage portal check http://127.0.0.1:9000/lettrage --secret env:PORTAL_WEBHOOK_SECRET",
        "lettrage portal check https://test.portail.example/lettrage --secret file:webhook.key --json",
        "lettrage portal check http://127.0.0.1:9000/lettrage --state-url http://127.0.0.1:9000/state/{number}",
    ),
)
@click.argument("url")
@click.option(
    "--secret", metavar="env:NAME|file:PATH", help="Where the portal's whsec_ secret is; asked for if left out."
)
@click.option("--regie", default="sample", show_default=True, help="The régie that the sample invoice is of.")
@click.option("--number", help="The sample invoice's number, for a portal that shows only its own; else a new one.")
@click.option("--state-url", help='Where the portal answers {"state": …, "version": …} of invoice {number} of {regie}.')
@as_json
def check(
    url: str, secret: str | None, regie: str, number: str | None, state_url: str | None, *, as_json: bool
) -> None:
    """Send a portal at URL sample notifications, right and forged ones, and say what it did wrong.

    For an integrator and a portal under test: it is told about an invoice that does not exist, or
    of the one that --number names. Needs no installation, changes none. Redirects are not
    followed; a minute at most for a portal that answers.

    What cannot be seen from answers, such as whether the highest version won, is looked up at
    --state-url; without it, it is said that nobody looked.

    Exit code 0 when nothing was wrong, 1 when something was, 75 when nobody listens at URL.
    """
    _check_url(url, "URL")
    if state_url is not None:
        _check_url(state_url, "--state-url")
        if "{number}" not in state_url:
            raise click.BadParameter("has no {number} where the invoice's number goes", param_hint="--state-url")
    run = secrets.token_hex(4)
    samples = Samples(regie, number or f"LETTRAGE-CHECK-{run}", run, first_version=int(time.time()))
    found = _tried(url, state_url, _secret(secret), samples, (lambda _: None) if as_json else _print)
    tally = Counter(finding.result for finding in found)
    if as_json:
        print_json({"conforms": not tally[Result.FAULT], "findings": found})
    else:
        say(_summary(tally))
    sys.exit(FAILED if tally[Result.FAULT] else 0)


def _tried(
    url: str, state_url: str | None, secret: str, samples: Samples, show: Callable[[Finding], None]
) -> list[Finding]:
    async def run() -> list[Finding]:
        found = []
        tried = Portal(url, Patience(), state_url)
        try:
            async with aclosing(Trial(tried, secret, samples).findings()) as findings:
                async for finding in findings:
                    show(finding)
                    found.append(finding)
        finally:
            await tried.close()
        return found

    try:
        return asyncio.run(run())
    except UnreachableError as error:
        raise TryLater(f"Nobody listens at that address: {error}. Is the portal up?") from None


def _check_url(url: str, hint: str) -> None:
    parts = usable_url(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter("not an address; such as http://127.0.0.1:9000/lettrage", param_hint=hint)


def _secret(given: str | None) -> str:
    """The secret itself; where it is wrong, only where it came from is said."""
    if given is None:
        if not sys.stdin.isatty():
            raise click.UsageError("Say where the secret is: --secret env:NAME or --secret file:PATH.")
        found = click.prompt("The portal's webhook secret", hide_input=True, err=True)
    elif not is_reference(given):
        raise click.BadParameter(
            "say where it is, env:NAME or file:PATH; others on this machine see what is typed here",
            param_hint="--secret",
        )
    else:
        try:
            found = find_secret(given, os.environ, Path.cwd()).reveal()
        except SecretError as error:
            raise click.BadParameter(str(error), param_hint="--secret") from None
    if not _is_webhook_secret(found):
        raise click.BadParameter("not whsec_ and then a key in base64", param_hint="--secret")
    return found


def _is_webhook_secret(found: str) -> bool:
    try:
        return found.startswith(PREFIX) and bool(base64.b64decode(found.removeprefix(PREFIX), validate=True))
    except (binascii.Error, ValueError):
        return False


def _print(finding: Finding) -> None:
    sign = click.style(SIGNS[finding.result], fg=COLOURS[finding.result])
    click.echo(f"{sign}  {finding.name}: {text(finding.what)}")
    if finding.mend:
        click.echo(f"           -> {text(finding.mend)}")


def _summary(tally: "Counter[Result]") -> str:
    wrong = f"Faults: {tally[Result.FAULT]}." if tally[Result.FAULT] else "The portal did nothing wrong."
    return f"{wrong} Not checked: {tally[Result.UNCHECKED]}." if tally[Result.UNCHECKED] else wrong
