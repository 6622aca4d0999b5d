"""The command line `lettrage`: its table of contents. Each command is in `worker.commands`, loaded when asked for.

stdout is data, stderr is for people. Exit codes are in `worker.commands.exits`.
"""

import io
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

import click

COMMANDS: Final = {
    "up": ("worker.commands.up:up", "Run everything on this machine."),
    "demo": ("worker.commands.demo:demo", "Watch a few families pay, cancel and vanish."),
    "doctor": ("worker.commands.doctor:doctor", "Find what is wrong with this installation, and how to mend it."),
    "token": ("worker.commands.tokens:token", "Make a token for a client of the API."),
    "events": ("worker.commands.events:events", "Send events, see what became of them, replay them."),
    "invoices": ("worker.commands.lookups:invoices", "Look at an invoice."),
    "payments": ("worker.commands.lookups:payments", "Look at a payment."),
    "notifications": ("worker.commands.notifications:notifications", "Look at what portals were told; tell it again."),
    "portal": ("worker.commands.portal:portal", "Try a portal that is to be told."),
    "discrepancies": (
        "worker.commands.discrepancies:discrepancies",
        "See what money and books disagree about; close it.",
    ),
    "verify": ("worker.commands.verify:verify", "Prove that the books are right."),
    "retention": ("worker.commands.retention:retention", "See what is kept no longer, and what keeps the rest."),
    "migrate": ("worker.commands.schema:migrate", "Bring the database's schema to what this version needs."),
    "web": ("worker.commands.processes:web", "Serve the HTTP API."),
    "worker": ("worker.commands.processes:worker", "Reconcile events as soon as they are stored."),
    "clock": ("worker.commands.processes:clock", "End holds on time, and do what nobody else has done."),
}
"""Where each command is, and what it is for."""


class Contents(click.Group):
    """A group whose commands are imported one at a time: `lettrage --help` must not load a web server."""

    def __init__(self, *args: Any, contents: Mapping[str, tuple[str, str]], **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **kwargs)
        self._contents = contents

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which a newcomer needs them."""
        return list(self._contents)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in self._contents:
            return None
        module, _, name = self._contents[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._contents.items()])


@click.group(cls=Contents, contents=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lettrage", message="%(prog)s %(version)s")
def main() -> None:
    """Lettrage reconciles a portal's invoices with what its payment gateways say.

    A payment that was started holds its invoices; if no money came in time, they are payable
    again. `lettrage demo` shows it, `lettrage up` runs it, `lettrage doctor` checks it.

    Configured by lettrage.toml in this folder (LETTRAGE_CONFIG) and the environment: DATABASE_URL,
    REDIS_URL, HOST, PORT, LETTRAGE_STATE_DIR.

    Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 conflict, 75 try again later.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 shows a ? instead of ending the work


if __name__ == "__main__":
    main(prog_name="lettrage")
