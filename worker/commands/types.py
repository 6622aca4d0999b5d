"""Types of events, as people name them on the command line."""

import click

from schemas.events import EventType


def whole_type(name: str) -> str:
    """The type's whole name. One that does not exist would find nothing, and look like nothing happened.

    Raises:
        click.BadParameter: there is no such type.
    """
    known = {str(kind): str(kind) for kind in EventType}
    known |= {kind.removeprefix("fr.lettrage.").removesuffix(".v1"): kind for kind in known}
    if name not in known:
        short = ", ".join(sorted(kind for kind in known if not kind.startswith("fr.")))
        raise click.BadParameter(f"{name!r} is not one of {short}", param_hint="--type")
    return known[name]
