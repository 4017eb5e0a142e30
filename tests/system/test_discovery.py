"""Real Prometheus finds the chargers by `/sd`, scrapes each by `/probe`, and passes them on."""

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
from servers import VictoriaMetrics, wait_for

from goe_exporter.simulator import Simulator

NAMES = ("garage", "B/ö & ro", "yard")
DOWN = "carport"


def documented(page: str, heading: str, key: str) -> list[dict[str, Any]]:
    """Return a part of the first example after a heading of a page."""
    section = (ROOT / "docs" / page).read_text("utf-8").partition(f"\n## {heading}\n")[2]
    example = re.search("```yaml\n(.*?)```", section, re.DOTALL)
    assert example is not None
    found: list[dict[str, Any]] = yaml.safe_load(example[1])[key]
    return found


def test_prometheus_scrapes_every_charger(
    launch: Launch, simulator: Simulator, tmp_path: Path
) -> None:
    """The documented jobs have each charger as a target that is up, also one that is down."""
    hosts = [f"{name}={simulator.add(charging('V4')).address}" for name in NAMES]
    exporter = Exporter(launch("serve", *hosts, f"{DOWN}=127.0.0.1:1", *LISTEN))
    wait_for(lambda: exporter.answer("-/ready")[0] == 200, "the first polls")
    text = yaml.safe_dump(documented("http-api.md", "Service discovery", "scrape_configs"))
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


def test_samples_are_passed_on(launch: Launch, simulator: Simulator, tmp_path: Path) -> None:
    """With the documented `remote_write`, VictoriaMetrics has what Prometheus scrapes."""
    exporter = Exporter(launch("serve", f"garage={simulator.add(charging()).address}", *LISTEN))
    (write,) = documented("scale.md", "Long-term storage", "remote_write")
    with VictoriaMetrics(tmp_path).up() as victoria:
        assert write["url"].startswith("http://victoriametrics:8428/")
        write["url"] = write["url"].replace("http://victoriametrics:8428", victoria.url)
        target = f"127.0.0.1:{exporter.port}"
        with Prometheus(tmp_path).up(target, remote_write=[write]):
            wait_for(lambda: victoria.series("goe_power_watts", charger="garage") != [], "a sample")
            (series,) = victoria.series("goe_power_watts", charger="garage")
    assert (series.labels["job"], series.labels["instance"]) == ("goe", target)
