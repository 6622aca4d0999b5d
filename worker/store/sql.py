"""Named queries from the .sql files beside this one: SQL stays SQL, formatted and described."""

import re
from importlib.resources import files
from types import SimpleNamespace

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def load(file: str) -> SimpleNamespace:
    """Read every `-- name: x` block of `file` (beside this module) as the attribute `x`; comments stay in the text."""
    parts = _NAME.split(files("worker.store").joinpath(file).read_text("utf-8"))[1:]
    names = parts[::2]
    assert len(names) == len(set(names)), f"{file}: a query is named twice"
    return SimpleNamespace(**dict(zip(names, (text.strip() for text in parts[1::2]), strict=True)))
