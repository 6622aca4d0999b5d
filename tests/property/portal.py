"""A portal that believes notifications and nothing else."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from tests.property.desk import Shown


class Portal:
    """Shows of each invoice the highest version that it heard; remembers all of them."""

    def __init__(self) -> None:
        self.invoices: dict[str, Shown] = {}
        self.versions: dict[str, list[int]] = defaultdict(list)

    def hear(self, data: Mapping[str, Any]) -> None:
        """Take a notification's `data`, in whatever order they come."""
        number, told = data["number"], Shown(*(data[name] for name in Shown._fields))
        self.versions[number].append(told.version)
        if number not in self.invoices or told.version > self.invoices[number].version:
            self.invoices[number] = told
