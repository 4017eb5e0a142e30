"""Numbers of a simulated house's meter through a real Prometheus and a real VictoriaMetrics."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator

import pytest
from clocks import Clock
from fake_influx import FakeInflux, Received, Reply
from prometheus_server import Prometheus
from servers import PATIENCE_SECONDS, VictoriaMetrics, wait_for

from goe_exporter.simulator import Charger, House, Simulator
from goe_exporter.surplus.config import GridConfig
from goe_exporter.surplus.prometheus_source import PrometheusSource
from goe_exporter.surplus.source import Reading, SourceError

OLD_SECONDS = 45.0


class World:
    """A meter's exporter that Prometheus scrapes every second; `alive` is whether it answers."""

    def __init__(self, house: House, prometheus: Prometheus) -> None:
        self.house = house
        self.prometheus = prometheus
        self.alive = True
        self.pushed_at = time.time() - OLD_SECONDS

    def metrics(self, _request: Received) -> Reply:
        """Answer a scrape: the grid power, per phase too, and a sample with a time of its own."""
        shown = self.house.meter.shown
        assert shown is not None
        phases = "".join(f'phase_power_watts{{phase="L{n}"}} {n}00\n' for n in (1, 2, 3))
        text = (
            f"house_grid_power_watts {shown.grid_w!r}\n{phases}"
            f"pushed_power_watts 1234.5 {self.pushed_at * 1000:.0f}\n"
        )
        # Prometheus 3 reads no metrics without a content type.
        kind = (("Content-Type", "text/plain; version=0.0.4"),)
        return Reply(200, text.encode(), kind) if self.alive else Reply(503)

    def read(self, query: str, **keys: str) -> Reading:
        """Read the number that a query returns."""
        config = GridConfig.model_validate(
            {"prometheus": self.prometheus.url, "query": query, **keys}
        )
        return PrometheusSource("grid", config).read(time.monotonic() + PATIENCE_SECONDS)

    def failure(self, query: str) -> SourceError | None:
        """Return why a query gives no number, None if it gives one."""
        try:
            self.read(query)
        except SourceError as error:
            return error
        return None


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run a house, in which no time passes, and Prometheus."""
    house, clock = House("sunny", start_s=12 * 3600), Clock()
    charger = Charger("V3")
    with Simulator(clock=clock) as simulator, FakeInflux() as exporter:
        box = simulator.add(charger, story=house.live(charger))
        clock.sleep(60)
        box.catch_up()
        found = World(house, Prometheus(tmp_path_factory.mktemp("surplus")))
        exporter.rule = found.metrics
        with found.prometheus.up(exporter.host, job="meter"):
            wait_for(lambda: found.failure("house_grid_power_watts") is None, "the grid power")
            yield found


def age_s(reading: Reading) -> float:
    assert reading.age_known
    return time.monotonic() - reading.measured_at


def test_plain_selector(world: World) -> None:
    """The value is the meter's, and about as old as the last scrape."""
    shown = world.house.meter.shown
    assert shown is not None
    found = world.read('house_grid_power_watts{job="meter"}', positive="export")
    assert found.value == -shown.grid_w
    assert 0 <= age_s(found) < 30


def test_sample_with_its_own_time(world: World) -> None:
    """A sample that was measured before it was scraped is as old as it is."""
    found = world.read("pushed_power_watts")
    assert found.value == 1234.5
    assert age_s(found) == pytest.approx(time.time() - world.pushed_at, abs=2)


def test_expression(world: World) -> None:
    """The time of an expression is that of its oldest value, not that of the evaluation."""
    found = world.read(
        "sum(phase_power_watts) + on() pushed_power_watts",
        time_query="min(timestamp(phase_power_watts)) < min(timestamp(pushed_power_watts))"
        " or min(timestamp(pushed_power_watts))",
    )
    assert found.value == 1834.5
    assert age_s(found) == pytest.approx(time.time() - world.pushed_at, abs=2)


def test_several_series(world: World) -> None:
    """Three series are no single number."""
    failed = world.failure("phase_power_watts")
    assert failed is not None
    assert failed.reason == "ambiguous"
    assert str(failed) == "grid: the query found 3 values; aggregate them, as in sum(…)"


def test_parse_error(world: World) -> None:
    """An error in a query is reported in Prometheus' own words."""
    with pytest.raises(SourceError) as failed:
        world.read("sum(phase_power_watts", time_query="timestamp(phase_power_watts)")
    assert failed.value.reason == "query_refused"
    assert (
        str(failed.value)
        == "grid: Prometheus rejects the query: 1:22: parse error: unclosed left parenthesis"
    )


def test_dead_meter(world: World) -> None:
    """A meter that cannot be scraped has no value at once, not the last one for five minutes."""
    world.alive = False
    try:
        wait_for(lambda: world.failure("house_grid_power_watts") is not None, "the next scrape")
        failed = world.failure("house_grid_power_watts")
        assert failed is not None
        assert failed.reason == "no_value"
    finally:
        world.alive = True
    wait_for(lambda: world.failure("house_grid_power_watts") is None, "the meter")


def test_victoriametrics(tmp_path_factory: pytest.TempPathFactory) -> None:
    """VictoriaMetrics has the value at once, with its age, although it hides the last 30 s."""
    victoria = VictoriaMetrics(tmp_path_factory.mktemp("surplus"))
    with victoria.up():
        measured = time.time() - 2
        body = f"meter_power_watts -3210.5 {measured * 1000:.0f}\n".encode()
        url = f"{victoria.url}/api/v1/import/prometheus"
        urllib.request.urlopen(url, body, timeout=PATIENCE_SECONDS).close()
        urllib.request.urlopen(f"{victoria.url}/internal/force_flush").close()
        config = GridConfig.model_validate(
            {"prometheus": victoria.url, "query": "meter_power_watts"}
        )
        source = PrometheusSource("grid", config)
        found = source.read(time.monotonic() + PATIENCE_SECONDS)
        assert found.value == -3210.5
        assert age_s(found) == pytest.approx(time.time() - measured, abs=2)
