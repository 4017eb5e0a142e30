"""The exporter's own metrics: polling, reloads, and delivery to InfluxDB."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from exposed import INFLUX, TIME, Samples, lint, samples

from goe_exporter import __version__
from goe_exporter.influx.stats import DeliveryStats
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.service import session_metrics
from goe_exporter.service.self_metrics import Parts, Reload, providers
from goe_exporter.sessions.bookkeeper import StoreStats
from goe_exporter.sessions.memory import Open
from goe_exporter.sessions.session import Session
from goe_exporter.sessions.tally import Tally


def text(influx: DeliveryStats | None = None, *, reloaded: bool = True) -> str:
    """Return the own metrics of an exporter that made two polls, and one internal error."""
    scheduler = Scheduler(())
    for seconds in (0.02, 3.0):
        scheduler.duration.observe(seconds)
        scheduler.lateness.observe(0.002)
    scheduler.internal_errors = 1
    delivery = None if influx is None else lambda: influx
    own = providers(Parts(scheduler, lambda: Reload(reloaded, 1_750_000_000.5), delivery))
    return Exposition(tuple, own).render()[0].decode("utf-8")


def found(influx: DeliveryStats | None = None, *, reloaded: bool = True) -> Samples:
    """Return the samples of `text`."""
    return samples(text(influx, reloaded=reloaded))


def test_build_and_internal_errors() -> None:
    """The version is a label; polls aborted by a bug are counted."""
    assert found()["goe_exporter_build_info", frozenset({("version", __version__)})] == 1
    assert found()["goe_exporter_defects_total", frozenset()] == 1


@pytest.mark.parametrize(("successful", "number"), [(True, 1), (False, 0)])
def test_reload_of_the_configuration(successful: bool, number: int) -> None:
    """Whether the last reload succeeded, and when a reload succeeded last."""
    shown = found(reloaded=successful)
    assert shown["goe_config_last_reload_successful", frozenset()] == number
    moment = shown["goe_config_last_reload_success_timestamp_seconds", frozenset()]
    assert moment == 1_750_000_000.5


def test_names_of_cards() -> None:
    """Each card in the configuration has a series; without cards there is no such metric."""
    cards = {"1": "Anna", "10": 'Büro "2"\n'}
    parts = Parts(Scheduler(()), lambda: Reload(True, 0.0), card_names=lambda: cards)
    own = providers(parts)
    shown = Exposition(tuple, own).render()[0].decode("utf-8")
    lines = [line for line in shown.splitlines() if "goe_card_info" in line]
    assert lines == [
        "# HELP goe_card_info Names of RFID cards in the configuration.",
        "# TYPE goe_card_info gauge",
        'goe_card_info{card="1",name="Anna"} 1.0',
        'goe_card_info{card="10",name="Büro \\"2\\"\\n"} 1.0',
    ]
    assert "goe_card_info" not in text()


def test_histograms() -> None:
    """Poll durations and lateness are cumulative histograms over all chargers, unlabelled."""
    shown = found()
    buckets = {
        dict(labels)["le"]: count
        for (name, labels), count in shown.items()
        if name == "goe_exporter_poll_duration_seconds_bucket"
    }
    ones = dict.fromkeys(("0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.0"), 1.0)
    assert buckets == {"0.01": 0.0, **ones, "4.0": 2.0, "+Inf": 2.0}
    assert shown["goe_exporter_poll_duration_seconds_count", frozenset()] == 2
    assert shown["goe_exporter_poll_duration_seconds_sum", frozenset()] == pytest.approx(3.02)
    late = "goe_exporter_poll_lateness_seconds_bucket"
    assert shown[late, frozenset({("le", "0.001")})] == 0
    assert shown[late, frozenset({("le", "0.005")})] == 2


def test_delivery_to_influx() -> None:
    """With InfluxDB, delivered and waiting points and failed writes are exported."""
    shown = {
        (name, *labels): n for (name, labels), n in found(INFLUX).items() if "_influx_" in name
    }
    assert shown == {
        ("goe_influx_points_total", ("result", "written")): 1000,
        ("goe_influx_points_total", ("result", "rejected")): 2,
        ("goe_influx_points_total", ("result", "dropped")): 3,
        ("goe_influx_spooled_points",): 40,
        ("goe_influx_spool_bytes",): 4096,
        ("goe_influx_oldest_spooled_timestamp_seconds",): TIME,
        ("goe_influx_damaged_records_total",): 1,
        ("goe_influx_write_failures_total", ("reason", "timeout")): 5,
    }


def test_session_store() -> None:
    """With sessions, the size of the store is exported, and what went wrong."""
    stats = StoreStats(size_bytes=8_192, failures=3, lost=2, damaged=1, waiting=4)
    own = providers(Parts(Scheduler(()), lambda: Reload(True, 0.0), store=lambda: stats))
    text = Exposition(tuple, own).render()[0].decode("utf-8")
    assert {name: n for (name, _), n in samples(text).items() if "session" in name} == {
        "goe_session_store_bytes": 8_192,
        "goe_session_store_failures_total": 3,
        "goe_session_store_damaged_total": 1,
        "goe_sessions_lost_total": 2,
    }


def test_one_look_at_the_store_for_each_scrape() -> None:
    """The statistics, which copy those of all chargers, are taken once."""
    looks: list[StoreStats] = []

    def store() -> StoreStats:
        looks.append(StoreStats(8_192, 0, 0, 0, 0))
        return looks[-1]

    own = providers(Parts(Scheduler(()), lambda: Reload(True, 0.0), store=store))
    Exposition(tuple, own).render()
    assert len(looks) == 1


LAST = Session(
    "7_1700000000", "garage", "7", 2, 1_700_000_000, 1_700_003_600, 7_250, 100, 7_350,
    charging_seconds=3_000,
)  # fmt: skip
OPEN = Open(2, 1_700_010_000.5, 7_350, energy_wh=1_234, charging_seconds=360.0)
TALLIES = {
    "garage": Tally({"0": 2, "3": 5}, LAST, 40, OPEN),
    "yard": Tally(),
    "sold": Tally({"0": 9}, LAST, 1, OPEN),
}


def session_text() -> str:
    """Return the families of two chargers, one of which has had no session."""
    provider = partial(session_metrics.chargers, TALLIES, ["garage", "yard", "new"])
    return Exposition(tuple, [provider]).render()[0].decode("utf-8")


def test_sessions_of_chargers() -> None:
    """Each configured charger has bounded series; what is not there is absent, and never 0."""
    shown = {(name, *sorted(labels)): n for (name, labels), n in samples(session_text()).items()}
    garage = ("charger", "garage")
    assert shown == {
        ("goe_sessions_total", ("card", "0"), garage): 2,
        ("goe_sessions_total", ("card", "3"), garage): 5,
        ("goe_session_metered_energy_joules", garage): 4_442_400,
        ("goe_session_start_timestamp_seconds", garage): 1_700_010_000.5,
        ("goe_session_charging_seconds", garage): 360,
        ("goe_last_session_energy_joules", garage): 26_100_000,
        ("goe_last_session_end_timestamp_seconds", garage): 1_700_003_600,
        ("goe_last_session_duration_seconds", garage): 3_600,
        ("goe_last_session_charging_seconds", garage): 3_000,
        ("goe_unassigned_energy_joules_total", garage): 144_000,
        ("goe_unassigned_energy_joules_total", ("charger", "yard")): 0,
    }


@pytest.mark.parametrize(
    ("card", "label"), [(0, "0"), (10, "10"), (11, "unknown"), (-1, "unknown"), (None, "unknown")]
)
def test_cards_are_bounded(card: int | None, label: str) -> None:
    """Only the ten cards of a charger, and none, have a series of their own."""
    assert Tally().counted(replace(LAST, card=card)).closed == {label: 1}


def test_last_session_is_that_which_ended_last() -> None:
    """A session that is written late, and ended earlier, does not take its place."""
    earlier = replace(LAST, id="7_1", ended=1_700_003_599)
    assert Tally().counted(LAST).counted(earlier).last == LAST


def test_an_empty_spool_has_no_oldest_point() -> None:
    """Without waiting points there is no timestamp, rather than 0."""
    assert "goe_influx_oldest" not in text(replace(INFLUX, spooled=0, oldest=None))


def test_without_influx_there_are_no_delivery_metrics() -> None:
    """An exporter without InfluxDB has no metrics of the delivery."""
    assert "goe_influx" not in text()


@pytest.mark.system
def test_promtool_finds_nothing() -> None:
    """`promtool check metrics` accepts all of the exporter's own metrics."""
    lint(text(INFLUX))
    lint(session_text())
