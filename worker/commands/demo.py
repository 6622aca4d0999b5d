"""`lettrage demo`: a whole installation with families in it, for who wants to see one work."""

import sys

import click

from worker.commands.help import Command
from worker.demo import play_once, play_until_interrupted


@click.command(cls=Command, examples=("lettrage demo", "lettrage demo --once"))
@click.option(
    "--once", is_flag=True, help="End after the last reactivation; exit code 0 only if all went as it should."
)
def demo(*, once: bool) -> None:
    """Watch a few families pay, be refused, cancel and vanish, and each invoice end where it should.

    Runs everything on this machine, with an example portal and a simulated gateway. Each payment
    holds its invoices for 30 seconds instead of 30 minutes. Stays up until Ctrl-C, so that you can
    click through a payment yourself.
    """
    sys.exit(play_once() if once else play_until_interrupted())
