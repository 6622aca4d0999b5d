"""Checks of the configuration: its faults, its clients and régies, who can read its secrets."""

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from worker.doctor.check import Check, failed, ok, warning
from worker.secret import LITERAL
from worker.settings import Reading, Settings, read

OTHERS = stat.S_IRGRP | stat.S_IROTH
"""Group included: in a container or a shared account it is rarely a group of its own."""


def configuration(environ: Mapping[str, str]) -> tuple[Settings, list[Check]]:
    """The settings as far as they can be read, and what is wrong with them."""
    reading = read(environ)
    settings = reading.settings
    return settings, [*_faults(reading), *clients(settings), *regies(settings), *secrets(settings)]


def _faults(reading: Reading) -> Iterator[Check]:
    for problem in reading.problems:
        yield failed("configuration", str(problem), f"correct {problem.key}: until then nothing starts")
    for problem in reading.settings.warnings:
        yield warning("configuration", str(problem), f"look at {problem.key}")
    if reading.settings.config is None:
        mend = "copy examples/lettrage.toml and change it, or set LETTRAGE_CONFIG to where yours is"
        yield warning("configuration", "there is no lettrage.toml in this folder", mend)
    elif not reading.problems:
        yield ok("configuration", f"{reading.settings.config} has no fault")


def clients(settings: Settings) -> Iterator[Check]:
    """Whether somebody may call the API."""
    if not settings.clients:
        mend = "`lettrage token portail --scope events --scope read --regie CODE` prints the block to add"
        yield warning("clients", "no client may call the API", mend)
        return
    yield ok("clients", f"{len(settings.clients)} configured")
    if not any(client.may("events") for client in settings.clients.values()):
        mend = "give the portal's client the scope events"
        yield warning("clients", "none may send events", mend)


def regies(settings: Settings) -> Iterator[Check]:
    """Whether there is anything to reconcile, and which régies are not in earnest."""
    if not settings.regies:
        yield warning("regies", "none is configured", "add a [[regie]] block: examples/lettrage.toml has one")
        return
    yield ok("regies", f"{len(settings.regies)} configured")
    for code, policy in settings.policies.items():
        if policy.mode == "test":
            mend = 'set mode = "production" when families pay there'
            yield warning("regies", f"{code} is in test mode: it believes test payments", mend)


def secrets(settings: Settings) -> Iterator[Check]:
    """Whether others on this machine can read what must stay secret."""
    found = [secret for regie in settings.regies.values() for secret in regie.secrets().values()]
    files = {secret.file for secret in found if secret.file is not None}
    if settings.config is not None and any(secret.source == LITERAL for secret in found):
        files.add(settings.config)
    readable = [path for path in sorted(files) if path.stat().st_mode & OTHERS]
    yield from (_readable(path) for path in readable)
    if found and not readable:
        yield ok("secrets", f"{len(found)} found, none readable by others")


def _readable(path: Path) -> Check:
    return warning("secrets", f"other users of this machine can read {path}", f"chmod 600 {path}")
