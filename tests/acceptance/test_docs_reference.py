"""The documents' lists are the code's: nothing is missing, nothing is left over, nothing that they name is gone."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

import click
import msgspec
import pytest
from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

from monitoring import metrics
from schemas.records import DiscrepancyKind
from tests.documents import ROOT, commands, documents, first_column
from tests.prometheus import program
from worker.cli import main
from worker.doctor.gateways import MENDS
from worker.domain.reasons import Reason
from worker.domain.record import PAYMENT_UNKNOWN
from worker.gateways.capabilities import CAPABILITIES
from worker.gateways.options import check_options
from worker.settings import load, read
from worker.store.views import Views
from worker.web.cloudevents import SHAPES
from worker.web.reading import Reading
from worker.web.regies import Regies

NOT_YET: Final[set[tuple[str, ...]]] = set()
"""Commands that the documents name because this version does not have them."""
REASON_HEADINGS: Final = (
    "Invoices",
    "Holds",
    "Payments that take no hold",
    "Payments that are known",
    "Money",
    "Answers that prove nothing",
    "Discrepancies",
    "Replays",
    "Retention",
)
DOCUMENTS: Final = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in documents()}
CONFIGURE: Final = DOCUMENTS["docs/configure.md"]
INTEGRATE: Final = DOCUMENTS["docs/integrate.md"]
OPERATE: Final = DOCUMENTS["docs/operate.md"]
REASONS: Final = DOCUMENTS["docs/reasons.md"]
UNITS: Final = dict(re.findall(r"^```ini\n# /etc/systemd/system/(\S+)\n(.*?)^```$", OPERATE, re.MULTILINE | re.DOTALL))


def test_every_reason_has_its_sentence() -> None:
    """docs/reasons.md has the reasons of the code, each once."""
    told = [reason for heading in REASON_HEADINGS for reason in first_column(REASONS, heading)]

    assert sorted(told) == sorted(Reason)


def test_every_kind_of_discrepancy_has_its_sentence() -> None:
    """docs/reasons.md has the kinds of the code, each once."""
    assert sorted(first_column(REASONS, "Discrepancies' kinds")) == sorted(DiscrepancyKind)


def test_every_why_has_its_sentence() -> None:
    """Why an answer proves nothing: what the gateways' code can say, and no more."""
    said = {why for file in (ROOT / "worker" / "gateways").glob("*.py") for why in _whys(file)} | {PAYMENT_UNKNOWN}

    assert sorted(first_column(REASONS, "Why an answer proves nothing")) == sorted(said)


def test_every_way_of_not_answering_has_its_sentence_and_its_mend() -> None:
    """What an ask can fail of: as the code raises it, as reasons.md says it, and what the doctor says to do."""
    sources = [file.read_text("utf-8") for file in (ROOT / "worker" / "gateways").glob("*.py")]
    raised = {why for text in sources for why in re.findall(r'GatewayUnavailableError\(\s*"(\w+)"', text)}

    assert sorted(first_column(REASONS, "Why a gateway gave no answer")) == sorted(raised)
    assert set(MENDS) == raised - {"left_alone"}


def _whys(file: Path) -> Iterator[str]:
    """The third argument of every `unproven(…)`; where that is a function's answer, what the function can return."""
    tree = ast.parse(file.read_text())
    returned = {
        function.name: [found for found in ast.walk(function) if isinstance(found, ast.Constant)]
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name.endswith("_reason")
    }
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "unproven":
            why = call.args[2]
            if isinstance(why, ast.Constant):
                yield str(why.value)
            elif isinstance(why, ast.Call) and isinstance(why.func, ast.Name):
                yield from (str(one.value) for one in returned[why.func.id] if str(one.value).startswith("operation_"))


class Asked(dict[str, str]):
    """An empty environment that remembers which variables it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
        """Nothing, and a note."""
        self.names.add(key)
        return default


def test_every_variable_is_documented() -> None:
    """docs/configure.md has the variables that reading the configuration asks for."""
    environ = Asked()
    load(cast("dict[str, str]", environ), ROOT / "docs")
    told = re.findall(r"^\| [^|]+ \| `([A-Z_]+)` \|", CONFIGURE, re.MULTILINE)

    assert sorted(told) == sorted(environ.names)


def _known_keys(folder: Path, toml: str) -> set[str]:
    """The keys that the fault about an unknown one names."""
    (folder / "lettrage.toml").write_text(toml)
    (told,) = [str(problem) for problem in read({}, folder).problems if "unknown key" in problem.message]
    return set(re.findall(r'"([^"]+)"', told.partition("known are")[2]))


@pytest.mark.parametrize(
    ("heading", "toml", "elsewhere"),
    [
        ("The installation", "zzzzzz = 1", {"client", "regie"}),
        ("Clients", "[[client]]\nzzzzzz = 1", set()),
        ("Régies", "[[regie]]\nzzzzzz = 1", set()),
        ("Portal", "[[regie]]\n[regie.portal]\nzzzzzz = 1", set()),
    ],
)
def test_every_key_is_documented(heading: str, toml: str, elsewhere: set[str], tmp_path: Path) -> None:
    """docs/configure.md has the keys of each block, each once."""
    assert sorted(first_column(CONFIGURE, heading)) == sorted(_known_keys(tmp_path, toml) - elsewhere)


def test_the_example_has_every_key(tmp_path: Path) -> None:
    """examples/lettrage.toml shows all there is, commented out where it is not needed, and has no fault."""
    example = (ROOT / "examples" / "lettrage.toml").read_text("utf-8")
    for toml in ("zzzzzz = 1", "[[client]]\nzzzzzz = 1", "[[regie]]\nzzzzzz = 1"):
        for key in _known_keys(tmp_path, toml) - {"client", "regie", "options", "portal"}:
            assert re.search(rf"^(# )?{key} = ", example, re.MULTILINE), key

    (tmp_path / "lettrage.toml").write_text(re.sub(r"^# (?=\w+ = )", "", example, flags=re.MULTILINE))
    named = dict.fromkeys(("SYSTEMPAY_SECRET", "LETTRAGE_METRICS_TOKEN"), "s" * 20)
    named |= {"PORTAL_WEBHOOK_SECRET": f"whsec_{'A' * 32}", "LETTRAGE_DATABASE_URL": "postgresql://127.0.0.1/a"}
    assert read(named, tmp_path).problems == []


def test_the_defaults_are_those_shown(tmp_path: Path) -> None:
    """A régie that leaves everything out has the same policy as one that says what docs/configure.md shows."""
    shown = CONFIGURE.partition("<!-- defaults -->\n```toml\n")[2].partition("```")[0]
    policies = []
    for toml in (shown, '[[regie]]\ncode = "enfance"\n'):
        (tmp_path / "lettrage.toml").write_text(toml)
        policies.append(read({}, tmp_path).settings.policies["enfance"])

    assert policies[0] == policies[1]
    assert tomllib.loads(shown)["regie"][0].keys() == {
        key for key in first_column(CONFIGURE, "Régies") if key not in ("options", "portal")
    }


def test_every_gateway_is_documented_with_what_it_needs() -> None:
    """docs/configure.md has the gateways of the code, and what each may not leave out, in each mode."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|$", CONFIGURE.partition("### Gateways")[2], re.MULTILINE)
    assert sorted(kind for kind, _, _ in rows) == sorted(CAPABILITIES)
    for kind, *cells in rows:
        for mode, cell in zip(("production", "test"), cells, strict=True):
            missing = {problem.key for problem in check_options(kind, mode, {})}
            assert missing == (set(re.findall(r"`(\w+)`", cell)) or ({"mode"} if cell == "not allowed" else set()))


def test_every_metric_is_documented() -> None:
    """docs/operate.md has the metrics of the code with their labels, each once."""
    own = [found for found in vars(metrics).values() if isinstance(found, MetricWrapperBase)]
    named = [
        (found._name + ("_total" if isinstance(found, Counter) else ""), tuple(found._labelnames)) for found in own
    ]
    named += [(f"lettrage_{name}", gauge.labels) for name, gauge in metrics.STATE_GAUGES.items()]
    real = [name + (f"{{{','.join(labels)}}}" if labels else "") for name, labels in named]

    assert sorted(first_column(OPERATE, "Metrics")) == sorted(real)


def test_every_alert_is_documented() -> None:
    """docs/operate.md leads from each alert to its page."""
    rules = (ROOT / "monitoring" / "alerts" / "lettrage.yml").read_text()
    real = re.findall(r"- alert: (\w+)[\s\S]*?runbook: (\S+)", rules)
    told = re.findall(r"^\| `(\w+)` \| \[[^\]]+\]\(\.\./([^)]+)\) \|$", OPERATE, re.MULTILINE)

    assert sorted(told) == sorted(real)


def test_every_event_is_documented_with_its_fields() -> None:
    """docs/integrate.md has the types that come from outside, what each must have and what it may."""
    told = re.findall(r"^\| `([a-z.]+)` \| ([^|]+) \| ([^|]+) \|$", INTEGRATE, re.MULTILINE)
    rows = {f"fr.lettrage.{kind}.v1": [re.findall(r"`(\w+)`", cell) for cell in cells] for kind, *cells in told}
    real = {
        kind.value: [
            [field.name for field in msgspec.structs.fields(shape) if field.required],
            [field.name for field in msgspec.structs.fields(shape) if not field.required],
        ]
        for kind, shape in SHAPES.items()
    }

    assert rows == real


def test_every_reading_is_documented() -> None:
    """docs/integrate.md has the addresses that can be read."""
    reading = Reading({}, cast("Regies", None), cast("Views", None))

    assert first_column(INTEGRATE, "Every reading") != []
    told = re.findall(r"^\| `GET (\S+)` \|", INTEGRATE, re.MULTILINE)
    assert told == [route.path for route in reading.routes()]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_that_is_named_exists(name: str) -> None:
    """`lettrage …` with its flags, and `make …` with its variables, wherever they stand."""
    for line in commands(DOCUMENTS[name]):
        for command in re.findall(r"(?:^|[ (])lettrage ([a-z].*)", line):
            _check_lettrage(command, line)
        for command in re.findall(r"(?:^|[ (])make ([a-z].*)", line):
            _check_make(command, line)


def _check_lettrage(typed: str, line: str) -> None:
    words = shlex.split(typed, comments=True)
    if any(tuple(words[: len(missing)]) == missing for missing in NOT_YET):
        return
    command: click.Command = main
    path: list[str] = []
    while isinstance(command, click.Group) and words:
        found = command.get_command(click.Context(command), words[0])
        assert found is not None, f"{words[0]!r} in: {line}"
        command, path = found, [*path, words.pop(0)]
    known = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)} | {"--help"}
    for flag in words:
        if flag in (">>", ">", "2>", "2>&1", "|", "||", "&&"):
            break
        assert not flag.startswith("--") or flag.partition("=")[0] in known, f"{flag} in: {line}"


def _check_make(typed: str, line: str) -> None:
    makefile = (ROOT / "Makefile").read_text() + (ROOT / ".lock" / "python").read_text()
    target, *variables = shlex.split(typed, comments=True)
    assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"make {target} in: {line}"
    for variable in variables:
        name, is_one, _ = variable.partition("=")
        if not is_one:
            break
        assert re.search(rf"^{name} \?=|{name}:-", makefile, re.MULTILINE), f"{name}= in: {line}"


@pytest.mark.parametrize("missing", sorted(NOT_YET), ids=" ".join)
def test_what_is_said_to_be_missing_is(missing: tuple[str, ...]) -> None:
    """Once it is there, the documents must say so."""
    command: click.Command | None = main
    for word in missing:
        command = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None

    assert command is None
    for name in ("README.md", "README.fr.md"):
        assert f"`lettrage {' '.join(missing)}`" in DOCUMENTS[name]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_that_is_named_exists(name: str) -> None:
    """Paths between backquotes, from the project's folder."""
    for path in re.findall(r"`([\w.-]+/[\w./-]+\.(?:py|md|sql|toml|yml|json|txt|svg))`", DOCUMENTS[name]):
        assert (ROOT / path).exists(), path


def test_both_readmes_have_the_same_parts() -> None:
    """What is said in one language is said in the other: the same headings, commands and results."""
    english, french = DOCUMENTS["README.md"], DOCUMENTS["README.fr.md"].replace("~/ma-commune", "~/my-town")

    for parts in (r"^#+(?= [^#])", r"^```(?:sh|json)\n.*?^```$"):
        found = [re.findall(parts, text, re.MULTILINE | re.DOTALL) for text in (english, french)]
        assert found[0] == found[1]


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_the_units(name: str, tmp_path: Path) -> None:
    """Each option is one that it knows, and the command is ours."""
    assert len(UNITS) == 2
    unit = UNITS[name].replace("/opt/lettrage/current", str(ROOT))
    assert unit != UNITS[name]
    (tmp_path / name).write_text(unit)
    instance = tmp_path / name.replace("@.", "@1.")
    command = [program("systemd-analyze"), "verify", str(instance)]
    verified = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
