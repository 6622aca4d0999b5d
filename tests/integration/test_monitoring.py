"""The monitoring pack as it is: a Prometheus that scrapes a live Lettrage answers every panel, evaluates every rule."""

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.installation import CLIENT, Installation, free_port, until
from tests.prometheus import EXAMPLE, PACK, Prometheus, program, serving

DASHBOARDS = sorted((PACK / "dashboards").glob("*.json"))
CONFIG = f"""{CLIENT}
[[regie]]
code = "enfance"
label = "Régie Enfance"
gateway = "dummy"
mode = "test"
hold = "1s"
[regie.portal]
url = "https://127.0.0.1:9/lettrage"
secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
"""
"""A portal inside our own network is never told anything: each attempt is counted as such."""
PATIENCE_SECONDS = 90.0


@pytest.fixture
def town(tmp_path: Path, database_url: str, redis_url: str) -> Iterator[Installation]:
    """Web, worker and clock under `up`, so that one scrape shows them all."""
    installation = Installation(tmp_path, DATABASE_URL=database_url, REDIS_URL=redis_url)
    installation.configure(CONFIG)
    yield installation
    installation.end()


def panels_of(dashboard: Path) -> list[Any]:
    """Panels that show something; a row only has a title."""
    return [panel for panel in json.loads(dashboard.read_text())["panels"] if panel["type"] != "row"]


def queries() -> dict[str, str]:
    """Every query of every dashboard, by where it is, for the régie of the test."""
    return {
        f"{dashboard.name}: {panel['title']} {target['refId']}": target["expr"].replace("$regie", "enfance")
        for dashboard in DASHBOARDS
        for panel in panels_of(dashboard)
        for target in panel["targets"]
    }


class Families:
    """Traffic of every kind, again and again: one family pays, one closes the window, a stranger forges a callback."""

    def __init__(self, town: Installation) -> None:
        self._town = town
        self._rounds = 0

    def come(self) -> None:
        """One more round."""
        self._rounds += 1
        for name in ("paying", "leaving"):
            self._send(f"{name}-{self._rounds}")
        for query in (f"transaction_id=paying-{self._rounds}&ok=1&signed=1", f"transaction_id=x{self._rounds}&ok=1"):
            self._town.get(f"/v1/callbacks/enfance?{query}")

    def _send(self, reference: str) -> None:
        data = {
            "regie": "enfance",
            "reference": reference,
            "amount_cents": 900,
            "invoices": [{"number": f"F-{reference}", "amount_cents": 900}],
        }
        event = {
            "specversion": "1.0",
            "type": "fr.lettrage.payment.started.v1",
            "source": "/portail",
            "id": reference,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "data": data,
        }
        assert self._town.post(event) in {200, 202}


@pytest.mark.timeout(240)
def test_every_panel_has_data_and_every_rule_works(town: Installation, tmp_path: Path) -> None:
    """The example's Prometheus on a live Lettrage: each query of the dashboards answers; no rule fails or fires."""
    prometheus = Prometheus(tmp_path, free_port())
    town.start("up")
    until(town.is_ready)
    families = Families(town)
    with prometheus.running(town.port, PACK / "alerts" / "lettrage.yml"):
        until(lambda: prometheus.has_data("lettrage_build_info"))
        missing = queries()
        end = time.monotonic() + PATIENCE_SECONDS
        while missing and time.monotonic() < end:
            families.come()
            missing = {where: query for where, query in missing.items() if not prometheus.has_data(query)}
        assert not missing
        until(lambda: all(group["lastEvaluation"] > "0002" for group in prometheus.ask("rules")["groups"]))
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        assert {(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"} == set()
        assert [alert["labels"] for alert in prometheus.ask("alerts")["alerts"] if alert["state"] == "firing"] == []
        assert prometheus.ask("targets")["activeTargets"][0]["health"] == "up"


def test_the_examples_are_valid(tmp_path: Path) -> None:
    """Prometheus's and Alertmanager's own checks have nothing to say."""
    for command in (
        [program("promtool"), "check", "config", str(EXAMPLE / "prometheus.yml")],
        [program("amtool", "prometheus-alertmanager"), "check-config", str(EXAMPLE / "alertmanager.yml")],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_alertmanager_of_the_example_starts_as_it_is(tmp_path: Path) -> None:
    """It says that it is ready, with the routes that are written there."""
    port = free_port()
    arguments = [f"--config.file={EXAMPLE / 'alertmanager.yml'}", "--storage.path=alertmanager"]
    listening = [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
    with serving([program("prometheus-alertmanager", "alertmanager"), *arguments, *listening], tmp_path, port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/status", timeout=10) as answer:
            shown = json.load(answer)["config"]["original"]
        assert re.search(r"receiver: on-call", shown)
