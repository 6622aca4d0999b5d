"""Alert rules, runbooks and the dashboard: they speak of metrics that exist, and of each other."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import monitoring
from monitoring.metrics import STATE_GAUGES, Sample, exposition

FOLDER = Path(monitoring.__file__).parent
RULES = FOLDER / "alerts" / "lettrage.yml"
TESTS = FOLDER / "alerts" / "lettrage_test.yml"
DASHBOARD = FOLDER / "dashboards" / "lettrage.json"


@pytest.fixture(scope="module")
def promtool() -> str:
    """Prometheus's checker, installed by `make test` where the machine lets it."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool here (Debian: apt-get install prometheus)")
    return found


def test_the_rules_are_valid_and_fire_for_what_they_are_for(promtool: str) -> None:
    """Prometheus's own checks, and our examples of each alert firing and staying silent."""
    for arguments in (["check", "rules", str(RULES)], ["test", "rules", str(TESTS)]):
        done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_runbook_an_example_and_a_severity() -> None:
    """Who is woken at night finds what to do; no runbook is left over."""
    alerts = re.findall(r"- alert: (\w+)\n(.*?)(?=\n\n|\Z)", RULES.read_text("utf-8"), re.DOTALL)
    assert alerts
    named = set()
    for name, rule in alerts:
        runbook = re.search(r"runbook: (\S+)", rule)
        assert runbook, name
        path = FOLDER.parent / runbook[1]
        assert path.read_text("utf-8").startswith(f"# {name}\n")
        assert re.search(r"severity: (critical|warning)\n", rule), name
        assert f"alertname: {name}\n" in TESTS.read_text("utf-8"), name
        named.add(path.name)
    assert named == {path.name for path in (FOLDER / "runbooks").iterdir()}


def test_rules_and_dashboard_name_only_metrics_that_exist() -> None:
    """A renamed metric would make an alert silent for ever."""
    state = [Sample(name, tuple("x" for _ in gauge.labels), 1.0) for name, gauge in STATE_GAUGES.items()]
    shown = text_string_to_metric_families(exposition(state).decode())
    families = {(family.name, family.type) for family in shown}
    known = {name for name, _ in families}
    known |= {f"{name}_total" for name, kind in families if kind == "counter"}
    known |= {f"{name}_bucket" for name, kind in families if kind == "histogram"}
    for text in (RULES.read_text("utf-8"), TESTS.read_text("utf-8"), DASHBOARD.read_text("utf-8")):
        named = set(re.findall(r"\blettrage_\w+", text)) - {"lettrage_test"}
        assert named, "nothing found means that the pattern is wrong"
        assert named <= known


def test_the_dashboard_reads_state_gauges_with_max() -> None:
    """Every web shows them alike: a sum would double what families owe."""
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    for gauge in STATE_GAUGES:
        for expression in expressions:
            if re.search(rf"\blettrage_{gauge}\b", expression):
                assert expression.startswith("max"), expression
