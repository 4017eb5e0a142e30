"""A bad answer fails its poll, is counted by reason, and is visible on `/metrics` at once."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from clients import impatient
from clocks import Clock
from faults import REASON_BY_FAULT
from prometheus_client.parser import text_string_to_metric_families
from servers import PATIENCE_SECONDS

from goe_exporter.charger.client import Client
from goe_exporter.polling.poller import Poller
from goe_exporter.prometheus.exposition import render_readings
from goe_exporter.simulator import Charger, Simulator

INTERVAL_SECONDS = 5.0


def samples(collector: Poller) -> dict[str, float]:
    """Return the charger's samples on `/metrics`, by name and the first other label."""
    text = render_readings([collector.view()])
    return {
        " ".join([sample.name, *(v for k, v in sample.labels.items() if k != "charger")]): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("api", ["1", "2"])
@pytest.mark.parametrize("fault", REASON_BY_FAULT)
def test_bad_answer(simulator: Simulator, fault: str, api: str) -> None:
    """Down at once, readings for three more intervals, and up again without help."""
    clock = Clock()
    box = simulator.add(Charger("V3"))
    client = Client(box.address, api, deadline_seconds=PATIENCE_SECONDS)  # type: ignore[arg-type]
    collector = Poller("garage", box.address, client, INTERVAL_SECONDS, clock=clock)
    collector.poll()
    assert samples(collector)["goe_up"] == 1
    box.fault = fault
    clock.now += INTERVAL_SECONDS
    with impatient(client) if REASON_BY_FAULT[fault] == "timeout" else nullcontext():
        collector.poll()
    shown = samples(collector)
    assert shown["goe_up"] == 0
    assert shown[f"goe_poll_failures_total {REASON_BY_FAULT[fault]}"] == 1
    assert shown["goe_max_current_amperes"] == 16
    clock.now += 2 * INTERVAL_SECONDS
    assert "goe_max_current_amperes" in samples(collector)
    clock.now += 0.1
    gone = samples(collector)
    assert "goe_max_current_amperes" not in gone
    assert {name.split()[0] for name in gone} == {
        "goe_device_info",
        "goe_up",
        "goe_last_success_timestamp_seconds",
        "goe_snapshot_age_seconds",
        "goe_poll_duration_seconds",
        "goe_polls_total",
        "goe_poll_failures_total",
    }
    box.fault = None
    collector.poll()
    back = samples(collector)
    assert (back["goe_up"], back["goe_max_current_amperes"]) == (1, 16)
    assert (back["goe_polls_total"], sum(_failures(back))) == (3, 1)


def test_400_with_an_object_is_a_success(simulator: Simulator) -> None:
    """PRO's answer to an unknown key is a good poll (docs/protocol.md §1)."""
    box = simulator.add(Charger("V3"))
    box.fault = "bad_request"
    collector = Poller("garage", box.address, Client(box.address))
    collector.poll()
    shown = samples(collector)
    assert (shown["goe_up"], shown["goe_max_current_amperes"]) == (1, 16)


def _failures(shown: dict[str, float]) -> list[float]:
    return [value for name, value in shown.items() if name.startswith("goe_poll_failures_total")]
