"""Alert rules, runbooks and dashboards: they speak of metrics that exist, and of each other."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import monitoring
from monitoring.metrics import STATE_GAUGES, Sample, exposition

FOLDER = Path(monitoring.__file__).parent
RULES = FOLDER / "alerts" / "lettrage.yml"
TESTS = sorted((FOLDER / "alerts").glob("*_test.yml"))
DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
SECTIONS = ["What it means", "What the family sees", "Look", "Mend", "Over"]
"""Of every runbook: what who is called at night asks, in that order."""


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus's checker, installed by `make test` where the machine lets it."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool here (Debian: apt-get install prometheus)")
    return found


def test_the_rules_are_valid_and_fire_for_what_they_are_for(promtool: str) -> None:
    """Prometheus's own checks, and our examples of each alert firing and staying silent."""
    for arguments in (["check", "rules", str(RULES)], ["test", "rules", *map(str, TESTS)]):
        done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_runbook_an_example_and_a_severity() -> None:
    """Who is woken at night finds what to do; no runbook is left over, and each has all its parts."""
    alerts = re.findall(r"- alert: (\w+)\n(.*?)(?=\n\n|\Z)", RULES.read_text("utf-8"), re.DOTALL)
    examples = "".join(path.read_text("utf-8") for path in TESTS)
    assert alerts
    named = set()
    for name, rule in alerts:
        runbook = re.search(r"runbook: (\S+)", rule)
        assert runbook, name
        path = FOLDER.parent / runbook[1]
        text = path.read_text("utf-8")
        assert text.startswith(f"# {name}\n")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS, name
        assert re.search(r'summary: ("|>-)', rule), name
        assert re.search(r"severity: (critical|warning)\n", rule), name
        assert f"alertname: {name}\n        exp_alerts:" in examples, f"no example of {name} firing"
        assert f"alertname: {name}}}\n" in examples, f"no example of {name} staying silent"
        named.add(path.name)
    assert named == {path.name for path in (FOLDER / "runbooks").iterdir()}


def test_rules_runbooks_and_dashboards_name_only_metrics_that_exist() -> None:
    """A renamed metric would make an alert silent for ever."""
    state = [Sample(name, tuple("x" for _ in gauge.labels), 1.0) for name, gauge in STATE_GAUGES.items()]
    shown = text_string_to_metric_families(exposition(state).decode())
    families = {(family.name, family.type) for family in shown}
    known = {name for name, _ in families}
    known |= {f"{name}_total" for name, kind in families if kind == "counter"}
    known |= {f"{name}_{part}" for name, kind in families if kind == "histogram" for part in ("bucket", "count")}
    for path in (RULES, *TESTS, *DASHBOARDS):
        assert "lettrage_" in path.read_text("utf-8"), "nothing found means that the pattern is wrong"
    for path in (RULES, *TESTS, *DASHBOARDS, *(FOLDER / "runbooks").iterdir()):
        named = set(re.findall(r"\blettrage_\w+", path.read_text("utf-8"))) - {"lettrage_test"}
        assert named <= known, path.name


def test_rules_and_dashboards_count_by_buckets_that_exist() -> None:
    """A bound that no bucket has would be no data, and a promise that is never broken."""
    shown = exposition().decode()
    for path in (RULES, *DASHBOARDS):
        text = path.read_text("utf-8").replace("\\", "")
        named = set(re.findall(r'(lettrage_\w+_bucket)\{le="([^"]+)"', text))
        for metric, bound in named:
            assert f'{metric}{{le="{bound}"}}' in shown, path.name
    assert set(re.findall(r'le="([^"]+)"', RULES.read_text("utf-8"))) == {"5.0", "1.0"}


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_dashboards_read_state_gauges_with_max(dashboard: Path) -> None:
    """Every web shows them alike: a sum would double what families owe."""
    expressions = [target["expr"] for panel in _panels(dashboard) for target in panel["targets"]]
    for gauge in STATE_GAUGES:
        for expression in expressions:
            if re.search(rf"\blettrage_{gauge}\b", expression):
                assert expression.startswith("max"), expression


def test_every_metric_is_on_a_dashboard() -> None:
    """What is measured is seen by somebody."""
    shown = "".join(path.read_text("utf-8") for path in DASHBOARDS)
    unseen = {name for name in STATE_GAUGES if not re.search(rf"\blettrage_{name}\b", shown)}
    unseen |= {
        family.name
        for family in text_string_to_metric_families(exposition().decode())
        if family.name.startswith("lettrage_") and family.name not in shown
    }
    assert unseen == set()


def test_panels_have_ids_and_places_of_their_own_and_the_chosen_source() -> None:
    """What Grafana would draw over something else, or ask of a source that is not there."""
    for dashboard in DASHBOARDS:
        panels = json.loads(dashboard.read_text("utf-8"))["panels"]
        assert len({panel["id"] for panel in panels}) == len(panels)
        cells = [cell for panel in panels for cell in _cells(panel["gridPos"])]
        assert len(set(cells)) == len(cells)
        assert max(x for x, _ in cells) < 24
        assert all(panel["datasource"]["uid"] == "${datasource}" for panel in _panels(dashboard))


def _panels(dashboard: Path) -> list[Any]:
    panels = json.loads(dashboard.read_text("utf-8"))["panels"]
    return [panel for panel in panels if panel["type"] != "row"]


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y
