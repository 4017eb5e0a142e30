"""Real Prometheus finds the chargers by `/sd`, and scrapes each by `/probe`."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import yaml
from commands import Launch
from exporters import LISTEN, Exporter, charging
from paths import ROOT
from prometheus_server import Prometheus
from servers import wait_for

from goe_exporter.simulator import Simulator

NAMES = ("garage", "B/ö & ro", "yard")
DOWN = "carport"


def documented() -> list[dict[str, Any]]:
    """Return the scrape configurations of docs/http-api.md."""
    page = (ROOT / "docs/http-api.md").read_text("utf-8")
    section = page.partition("\n## Service discovery\n")[2]
    example = re.search("```yaml\n(.*?)```", section, re.DOTALL)
    assert example is not None
    found: list[dict[str, Any]] = yaml.safe_load(example[1])["scrape_configs"]
    return found


def test_prometheus_scrapes_every_charger(
    launch: Launch, simulator: Simulator, tmp_path: Path
) -> None:
    """The documented jobs have each charger as a target that is up, also one that is down."""
    hosts = [f"{name}={simulator.add(charging('V4')).address}" for name in NAMES]
    exporter = Exporter(launch("serve", *hosts, f"{DOWN}=127.0.0.1:1", *LISTEN))
    wait_for(lambda: exporter.answer("-/ready")[0] == 200, "the first polls")
    text = yaml.safe_dump(documented())
    assert text.count("exporter:10332") == 2
    jobs = yaml.safe_load(text.replace("exporter:10332", f"127.0.0.1:{exporter.port}"))
    with Prometheus(tmp_path).up(job="none", jobs=jobs) as prometheus:

        def values(expression: str) -> dict[str, float]:
            found = prometheus.now(expression, time.time())
            return {each.labels["instance"]: next(iter(each.values.values())) for each in found}

        every = {*NAMES, DOWN}
        wait_for(lambda: set(values('up{job="goe"}')) == every, "a target for each charger")
        wait_for(lambda: set(values('up{job="goe"}').values()) == {1.0}, "the targets")
        wait_for(lambda: set(values('goe_up{job="goe"}')) == every, "the chargers")
        assert values("goe_up") == {**dict.fromkeys(NAMES, 1.0), DOWN: 0.0}
        assert set(values('goe_power_watts{job="goe"}')) == set(NAMES)
        for series in prometheus.series('{job="goe",charger!=""}'):
            assert series["charger"] == series["instance"]
        wait_for(lambda: len(values("goe_exporter_build_info")) == 1, "the exporter's own metrics")
        assert prometheus.series('{job="goe-exporter",charger!=""}') == []
        assert prometheus.words("job", "goe_exporter_build_info") == ["goe-exporter"]
