"""How a route is described, beside the route: `OPERATIONS` of the module that answers it.

`openapi.py` collects them; a test finds the route that has none, and the one that is described and gone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from worker.web.problems import BAD_REQUEST, EXPECTATION_FAILED, INTERNAL, SCOPE_MISSING, UNAUTHORIZED, Kind

JSON = "application/json"
EVERYWHERE = (BAD_REQUEST, EXPECTATION_FAILED, INTERNAL)
"""What any request may be answered, whatever it asks."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """A shape that no single struct has; `events.py` composes it and gives it this name."""

    name: str


EVENT = Component(name="Event")
"""Any event that a client may send."""
EVENT_BATCH = Component(name="EventBatch")
"""A list of them."""
EVENT_DATA = Component(name="EventData")
"""The data of any of them, as binary mode has it in the body."""
ARCHIVED_EVENT = Component(name="ArchivedEvent")
"""Any event of an archive."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """Something beside the body that a caller says. `shape`: a type as msgspec knows it."""

    name: str
    shape: Any
    about: str
    where: str = "query"
    example: str | None = None

    @property
    def required(self) -> bool:
        """Only what is part of the address has to be said."""
        return self.where == "path"


def choice(values: Iterable[str]) -> Any:  # noqa: ANN401 (a type, as msgspec knows it)
    """One of these texts; the shape of a parameter, or of a member whose values no enum names."""
    return Annotated[str, Meta(extra_json_schema={"enum": [str(value) for value in values]})]


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a caller sends: a shape by media type. None: any bytes."""

    shapes: Mapping[str, Any]
    about: str = ""
    required: bool = True


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is answered when all went well. `shape` None: text; a tuple: one of several."""

    about: str
    shape: Any = None
    status: int = 200
    media_type: str | None = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one address. `scope`: what the caller's token must have; None: no token is asked for."""

    method: str
    path: str
    name: str
    tag: str
    summary: str
    about: str = ""
    scope: str | None = None
    parameters: Sequence[Parameter] = ()
    body: Body | None = None
    answers: Sequence[Answer]
    problems: Sequence[Kind] = ()
    """What else it may answer, beside what its scope and `EVERYWHERE` say."""

    @property
    def kinds(self) -> Sequence[Kind]:
        """Every kind of problem that it may answer."""
        guarded = () if self.scope is None else (UNAUTHORIZED, SCOPE_MISSING)
        return (*guarded, *self.problems, *EVERYWHERE)
