"""The services of the compose files, run from Debian's packages with their commands and files."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose import BASE, INFLUX, ROOT, Native, load
from servers import PATIENCE_SECONDS, VictoriaMetrics, binary, running, wait_for

RUNNING = ("charger", "exporter", "prometheus", "alertmanager")
"""Services of the demo, except Grafana, which Debian does not have."""


def ask(url: str) -> Any:
    """Return the data of a response of Prometheus' API."""
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:
        return json.load(response)["data"]


def healthy(native: Native, service: str) -> bool:
    """Return whether the service's own health check succeeds."""
    return subprocess.run(native.health(service), capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Native]:
    """Run the services of `docker compose --profile demo up`, and wait for Prometheus."""
    folder = tmp_path_factory.mktemp("stack")
    native = Native(load(BASE), folder)
    with contextlib.ExitStack() as stack:
        for service in RUNNING:
            stack.enter_context(running(native.command(service), folder / f"{service}.log"))
        wait_for(lambda: healthy(native, "prometheus"), "Prometheus")
        yield native


def value(native: Native, expression: str) -> float | None:
    """Return Prometheus' value of an expression, None without one."""
    query = urllib.parse.urlencode({"query": expression})
    result = ask(f"{native.url('prometheus')}/api/v1/query?{query}")["result"]
    return float(result[0]["value"][1]) if result else None


@pytest.mark.parametrize("service", RUNNING)
def test_health_checks_tell_the_truth(demo: Native, service: str, tmp_path: Path) -> None:
    """A service's health check succeeds for it, and fails where nothing listens."""
    wait_for(lambda: healthy(demo, service), f"the health of {service}")
    assert not healthy(Native(load(BASE), tmp_path), service)


def test_prometheus_has_the_charger(demo: Native) -> None:
    """The exporter is scraped, and the demo's charger responds to it."""
    wait_for(lambda: value(demo, 'goe_up{job="goe",charger="demo"}') == 1, "goe_up 1")
    (target,) = ask(f"{demo.url('prometheus')}/api/v1/targets")["activeTargets"]
    assert target["health"] == "up"
    assert target["labels"] == {"job": "goe", "instance": demo.address["exporter"]}
    assert value(demo, 'sum(goe_car_state{charger="demo"})') == 1


def test_prometheus_evaluates_every_rule(demo: Native) -> None:
    """All rules of the repository are loaded and evaluated without an error."""
    files = [ROOT / f"dashboards/alerts/goe-{name}.yaml" for name in ("alerts", "recording")]
    documents = [yaml.safe_load(file.read_text()) for file in files]
    written = [rule for file in documents for group in file["groups"] for rule in group["rules"]]

    def rules() -> list[dict[str, Any]]:
        groups = ask(f"{demo.url('prometheus')}/api/v1/rules")["groups"]
        return [
            rule | {"slow": group["interval"] > 60} for group in groups for rule in group["rules"]
        ]

    # A group that is evaluated every 15 minutes has its turn within these.
    wait_for(
        lambda: all(rule["slow"] or rule["health"] != "unknown" for rule in rules()), "every rule"
    )
    assert [(rule["name"], rule["lastError"]) for rule in rules() if rule["health"] == "err"] == []
    assert len(rules()) == len(written) > 30


def test_prometheus_finds_alertmanager(demo: Native) -> None:
    """Prometheus sends its alerts to the stack's Alertmanager."""
    api = f"{demo.url('prometheus')}/api/v1/alertmanagers"
    there = {"url": f"{demo.url('alertmanager')}/api/v2/alerts"}
    wait_for(lambda: there in ask(api)["activeAlertmanagers"], "Alertmanager")


def test_configurations_are_accepted(tmp_path: Path) -> None:
    """`promtool check config` and `amtool check-config` accept the mounted files."""
    native = Native(load(BASE), tmp_path)
    checks = [
        [binary("promtool"), "check", "config"],
        [binary("amtool"), "check-config"],
    ]
    prometheus = native.path("prometheus", "/etc/prometheus/prometheus.yml")
    alertmanager = native.path("alertmanager", "/etc/alertmanager/alertmanager.yml")
    for check, file in zip(checks, (prometheus, alertmanager), strict=True):
        done = subprocess.run([*check, str(file)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "SUCCESS" in done.stdout


def with_influx(folder: Path, places: dict[str, str]) -> Native:
    """Return the stack with InfluxDB and its token; `places` are their addresses."""
    secrets = folder / "stack/secrets"
    secrets.mkdir(parents=True)
    (secrets / "influxdb_token").write_text("a-token\n")
    return Native(load(BASE, INFLUX), folder / "stack", places)


def test_influx_gets_the_points(tmp_path: Path) -> None:
    """With the InfluxDB file the exporter pushes too, through its spool."""
    server = VictoriaMetrics(tmp_path)
    native = with_influx(tmp_path, {"influxdb": f"127.0.0.1:{server.port}"})
    with contextlib.ExitStack() as stack:
        stack.enter_context(server.up())
        for service in ("charger", "exporter"):
            stack.enter_context(running(native.command(service), tmp_path / f"{service}.log"))
        wait_for(lambda: bool(server.series("goe_charger_up", charger="demo")), "points")


CONFINED = """
set -eu
mount --make-rprivate /
mount --bind "$1" "$1"
awk '$2 !~ "^/(proc|sys|dev)" { print $2 }' /proc/mounts | while read -r point; do
    [ "$point" = "$1" ] || mount -o remount,bind,ro "$point"
done
! touch "$1/../written" 2>/dev/null || exit 99
shift
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""
"""Runs a command as Docker does with `read_only` and `cap_drop: [ALL]`; $1 is its only volume."""


def test_exporter_needs_only_its_volume(tmp_path: Path) -> None:
    """On a read-only file system, without capabilities, the exporter serves and spools."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root, with CAP_SYS_ADMIN, can make the file system read-only")
    nobody = "127.0.0.1:1"
    native = with_influx(tmp_path, {"charger": nobody, "influxdb": nobody})
    volume = native.path("exporter", "/var/lib/goe-exporter")
    confined = ["unshare", "--mount", "sh", "-c", CONFINED, "sh", str(volume)]
    with running([*confined, *native.command("exporter")], tmp_path / "log"):
        wait_for(lambda: healthy(native, "exporter"), "the exporter's health")
        wait_for(lambda: any(volume.rglob("*.log")), "a point in the spool")
