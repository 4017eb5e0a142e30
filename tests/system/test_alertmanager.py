"""The example for Alertmanager, and the way of a fault to a webhook through real servers."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from paths import ROOT
from servers import PATIENCE_SECONDS, answers, binary, free_port, running, wait_for
from speaker import Speaker

from goe_exporter.simulator import Car, Charger, Simulator

CONFIG = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
RULES = ROOT / "dashboards" / "alerts"
TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def amtool(*arguments: str) -> str:
    """Run amtool, which must succeed, and return its output."""
    command = [binary("amtool"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def example() -> dict[str, Any]:
    """Return the example configuration."""
    return dict(yaml.safe_load(CONFIG.read_text(encoding="utf-8")))


def test_amtool_accepts_the_example() -> None:
    """The example is a valid configuration."""
    assert "4 inhibit rules" in amtool("check-config", str(CONFIG))


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ("severity=critical alertname=GoeGroundFault charger=garage", "everywhere"),
        ("severity=critical alertname=GoeExporterDown", "everywhere"),
        ("severity=warning alertname=GoeChargerUnreachable charger=garage", "mail"),
        ("severity=info alertname=GoeSessionLimitReached charger=garage", "nobody"),
        ("severity=warning alertname=GoeChargerUnreachable charger=off-at-night", "mail"),
        ("severity=critical alertname=GoeGroundFault charger=off-at-night", "everywhere"),
        ("alertname=OfAnotherProgram", "mail"),
    ],
)
def test_who_is_told(labels: str, receiver: str) -> None:
    """Critical alerts go to all receivers, warnings to mail, information to none."""
    told = amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels.split())
    assert told.strip() == receiver


def test_a_charger_that_is_off_at_night() -> None:
    """Only its unreachability is muted, only for that charger, and only at night."""
    (route,) = [each for each in example()["route"]["routes"] if "mute_time_intervals" in each]
    assert route["matchers"][0] == "charger = off-at-night"
    names = re.fullmatch(r'alertname =~ "(.+)"', route["matchers"][1])
    assert names is not None
    assert names[1].split("|") == ["GoeChargerUnreachable", "GoeChargerDataStale"]
    (night,) = example()["time_intervals"]
    assert route["mute_time_intervals"] == [night["name"]]
    assert night["time_intervals"][0]["times"] == [
        {"start_time": "22:00", "end_time": "24:00"},
        {"start_time": "00:00", "end_time": "06:30"},
    ]


def test_every_inhibition_compares_labels() -> None:
    """Without `equal` an alert would mute those of every other exporter and Prometheus."""
    assert all(rule["equal"] for rule in example()["inhibit_rules"])


def test_secrets_stand_in_files() -> None:
    """The example contains no secret: passwords and tokens are read from files."""
    text = CONFIG.read_text(encoding="utf-8")
    assert "smtp_auth_password_file: /run/secrets/" in text
    assert "credentials_file: /run/secrets/" in text
    assert amtool("check-config", str(CONFIG))
    keys = {line.partition(":")[0].strip(" -") for line in text.splitlines()}
    assert keys & {"smtp_auth_password", "credentials", "password"} == set()


# Real servers


def derived(folder: Path, webhook: str) -> Path:
    """Write the example for a test: with a webhook and a token, without mail and waiting."""
    token = folder / "token"
    token.write_text("let me in")
    config = example()
    del config["global"]
    for receiver in config["receivers"]:
        receiver.pop("email_configs", None)
        for hook in receiver.get("webhook_configs", ()):
            hook["url"] = webhook
            hook["http_config"]["authorization"]["credentials_file"] = str(token)
    for route in (config["route"], *config["route"]["routes"]):
        route |= {"group_wait": "1s", "group_interval": "1s"}
    path = folder / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


@contextlib.contextmanager
def alertmanager(folder: Path, config: Path) -> Iterator[str]:
    """Run Alertmanager with this configuration; yield its address."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        *(binary("prometheus-alertmanager"), f"--config.file={config}"),
        *(f"--storage.path={folder / 'alertmanager'}", f"--web.listen-address={address}"),
        *("--cluster.listen-address=", "--log.level=warn"),
    ]
    with running(command, folder / "alertmanager.log"):
        wait_for(lambda: answers(f"http://{address}/-/ready"), "Alertmanager")
        yield address


@contextlib.contextmanager
def prometheus(folder: Path, exporter: str, alerts_to: str) -> Iterator[str]:
    """Run Prometheus with all rules, evaluated each second; yield its URL."""
    copies = []
    for path in sorted(RULES.glob("*.yaml")):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        for group in document["groups"]:
            group.pop("interval", None)
        copies.append(folder / path.name)
        copies[-1].write_text(yaml.safe_dump(document), encoding="utf-8")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": list(map(str, copies)),
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alerts_to]}]}]},
        "scrape_configs": [{"job_name": "goe", "static_configs": [{"targets": [exporter]}]}],
    }
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        *(binary("prometheus"), f"--config.file={path}"),
        *(f"--storage.tsdb.path={folder / 'prometheus'}", f"--web.listen-address={address}"),
        "--log.level=warn",
    ]
    with running(command, folder / "prometheus.log"):
        wait_for(lambda: answers(f"http://{address}/-/ready"), "Prometheus")
        yield f"http://{address}"


def fetch(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:
        return json.load(response)


def rules(prometheus: str) -> list[dict[str, Any]]:
    """Return every rule with its health and state."""
    groups = fetch(f"{prometheus}/api/v1/rules")["data"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def told(webhook: Speaker) -> list[dict[str, Any]]:
    """Return the alerts that have reached the webhook, the newest last."""
    bodies = (request.partition("\r\n\r\n")[2] for request in webhook.requests)
    return [alert for body in bodies for alert in json.loads(body)["alerts"]]


def test_a_fault_reaches_the_webhook(speak: Callable[..., Speaker], tmp_path: Path) -> None:
    """A ground fault arrives with charger and error, as does its end; there is no alert before."""
    webhook = speak(TAKEN)
    config = derived(tmp_path, f"http://{webhook.address}/alerts")
    charger = Charger("V4")
    charger.plug(Car())
    charger.advance(600)
    exporter = f"127.0.0.1:{free_port()}"
    # The charger's clock is frozen, so that it charges throughout the test.
    with Simulator(clock=lambda: 0.0) as simulator, contextlib.ExitStack() as servers:
        box = simulator.add(charger)
        serve = [
            *(sys.executable, "-m", "goe_exporter.cli", "serve"),
            *(f"garage={box.address}", "--refresh-interval", "1s"),
            *("--web.listen-address", exporter),
        ]
        servers.enter_context(running(serve, tmp_path / "exporter.log"))
        manager = servers.enter_context(alertmanager(tmp_path, config))
        server = servers.enter_context(prometheus(tmp_path, exporter, manager))
        wait_for(
            lambda: (
                all(rule["health"] == "ok" for rule in rules(server))
                and fetch(f"{server}/api/v1/query?query=goe_error_code")["data"]["result"] != []
            ),
            "an evaluation of every rule, on readings",
            60,
        )
        wait_for(
            lambda: {rule.get("state", "inactive") for rule in rules(server)} == {"inactive"},
            "no alert for a charger that charges well",
            60,
        )
        assert told(webhook) == []

        with box.lock:
            charger.inject(8)
        wait_for(lambda: told(webhook) != [], "the fault at the webhook")
        (alert,) = told(webhook)
        assert alert["status"] == "firing"
        assert alert["labels"] == {
            "alertname": "GoeGroundFault",
            "charger": "garage",
            "error": "gnd_invalid",
            "instance": exporter,
            "job": "goe",
            "kind": "error",
            "severity": "critical",
        }
        assert "Charger garage reports gnd_invalid (code 8)" in alert["annotations"]["description"]
        assert alert["annotations"]["runbook_url"].endswith("runbook.md#goegroundfault")
        assert "Authorization: Bearer let me in" in webhook.requests[0]

        with box.lock:
            charger.clear_error()
        wait_for(lambda: told(webhook)[-1]["status"] == "resolved", "the end at the webhook")
        assert {each["labels"]["alertname"] for each in told(webhook)} == {"GoeGroundFault"}


# Grouping and inhibition


def alert(name: str, severity: str, kind: str, charger: str = "", **more: str) -> dict[str, Any]:
    labels = {"alertname": name, "severity": severity, "kind": kind, "job": "goe"}
    labels |= {"charger": charger} if charger else {}
    return {"labels": labels | {"instance": "pi:10332"} | more}


ALL = (
    alert("GoeExporterDown", "critical", "exporter", instance="nas:10332"),
    alert("GoeExporterAbsent", "critical", "exporter"),
    alert("GoeExporterDefect", "warning", "exporter"),
    alert("GoeConfigReloadFailed", "warning", "exporter"),
    alert("GoeChargerUnreachable", "warning", "reachability", "garage", instance="nas:10332"),
    alert("GoeChargerUnreachable", "warning", "reachability", "garage"),
    alert("GoeChargerDataStale", "warning", "reachability", "garage"),
    alert("GoeVoltageOutOfBand", "warning", "grid", "garage", phase="L1"),
    alert("GoeGroundFault", "critical", "error", "garage"),
    alert("GoeVoltageOutOfBand", "warning", "grid", "yard", phase="L1"),
    alert("GoeChargerError", "warning", "error", "yard"),
    alert("GoeContactorStuck", "critical", "error", "yard", instance="nas:10332"),
    alert("GoeChargerError", "warning", "error", "yard", job="cottage", instance="hut:10332"),
    alert("GoeOverTemperature", "critical", "temperature", "yard"),
    alert("GoeTemperatureHigh", "warning", "temperature", "yard", sensor="board"),
    alert("GoeTemperatureHigh", "warning", "temperature", "barn", sensor="board"),
    alert("GoeExporterDown", "critical", "exporter", instance="loft:10332", cluster="a"),
    alert(
        "GoeChargerUnreachable",
        "warning",
        "reachability",
        "attic",
        instance="loft:10332",
        cluster="b",
    ),
    alert("GoeFrequencyOutOfBand", "warning", "grid", "attic", instance="loft:10332", cluster="a"),
    alert("GoeGroundFault", "critical", "error", "attic", instance="loft:10332", cluster="b"),
    alert("GoeChargerError", "warning", "error", "attic", instance="loft:10332", cluster="a"),
    alert("GoeInfluxPointsDropped", "warning", "influx"),
    alert("DiskFull", "warning", "exporter"),
)
MUTED = {
    ("GoeExporterAbsent", "", "pi:10332"),
    ("GoeChargerUnreachable", "garage", "nas:10332"),
    ("GoeChargerDataStale", "garage", "pi:10332"),
    ("GoeVoltageOutOfBand", "garage", "pi:10332"),
    ("GoeChargerError", "yard", "pi:10332"),
    ("GoeTemperatureHigh", "yard", "pi:10332"),
}

GROUPS = {
    ("goe", ""),
    ("goe", "garage"),
    ("goe", "yard"),
    ("goe", "barn"),
    ("goe", "attic"),
    ("cottage", "yard"),
}
"""Job and charger of each message."""


def test_what_mutes_what(tmp_path: Path) -> None:
    """A worse alert mutes those that it explains, of the same charger or exporter; never danger."""
    config = derived(tmp_path, "http://127.0.0.1:1/")
    with alertmanager(tmp_path, config) as address:
        url = f"http://{address}/api/v2/alerts"
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(ALL).encode(), head)
        urllib.request.urlopen(request, timeout=PATIENCE_SECONDS).close()

        def muted() -> set[tuple[str, str, str]]:
            return {
                tuple(
                    one["labels"].get(label, "") for label in ("alertname", "charger", "instance")
                )
                for one in fetch(url)
                if one["status"]["inhibitedBy"]
            }

        wait_for(lambda: muted() == MUTED, "the muted ones")
        assert len(fetch(url)) == len(ALL)

        groups = {
            (group["labels"].get("job", ""), group["labels"].get("charger", ""))
            for group in fetch(f"{url}/groups")
        }
        assert groups == GROUPS
