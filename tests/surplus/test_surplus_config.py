"""The section `surplus`: what it says, and which charger it may be about."""

from __future__ import annotations

from pathlib import Path

import pytest

from goe_exporter.cli.run_config import run_config
from goe_exporter.errors import ConfigError, UsageError
from goe_exporter.service import config
from goe_exporter.service.config import Config
from goe_exporter.service.sharding import Shard
from goe_exporter.surplus.config import SurplusConfig, is_plain_selector
from goe_exporter.surplus.follow import FollowSettings
from goe_exporter.surplus.settings import Settings

CHARGER = 'chargers: [{name: garage, host: 192.168.1.36, serial: "012345"}]\n'

SMALL = """
surplus:
  mode: control
  charger: garage
  max_current: 16A
  phases: auto
  grid: {json: http://192.168.1.50/status, path: total_power}
"""

COMPLETE = """
surplus:
  mode: control
  charger: garage
  grid:
    prometheus: https://localhost:9090/prometheus/
    query: sum(meter_power_kilowatts)
    time_query: min(timestamp(meter_power_kilowatts))
    unit: kW
    positive: export
    includes_charger: false
    verify_tls: false
  battery:
    json: "http://192.168.1.51:7070/api/state?jq=.battery"
    path: "devices[0].power"
    time_path: updated
    positive: charge
    first: car
  reserve: -0.5kW
  min_current: 8
  max_current: 32A
  one_phase_max: 20A
  phases: 3
  car_phases: 2
  start_after: 90s
  pause_budget: 0.2kWh
  min_pause: 5m
  stale_after: 2m
  state: /data/surplus
"""

FOLLOW = """
surplus:
  mode: follow
  charger: garage
  max_current: 16A
  available: {prometheus: http://localhost:9090, query: available_amperes, unit: A}
"""

FEED = """
surplus:
  mode: feed
  charger: garage
  grid: {json: http://192.168.1.50/status, path: total_power, positive: export}
  battery: {json: http://192.168.1.50/status, path: battery_power}
  pv: {json: http://192.168.1.50/status, path: solar_power, unit: kW}
  stale_after: 30s
"""


def section(tmp_path: Path, text: str) -> SurplusConfig:
    path = tmp_path / "goe.yaml"
    path.write_text(CHARGER + text)
    found = config.load(str(path)).surplus
    assert found is not None
    return found


def test_defaults(tmp_path: Path) -> None:
    """Without the other keys, the settings are the decision's own defaults."""
    found = section(tmp_path, SMALL)
    assert found.settings(5.0) == Settings(max_current_a=16, phases=None, refresh_s=5.0)
    assert found.state == "/var/lib/goe-exporter/surplus"
    assert found.grid is not None
    assert (found.grid.kind, found.grid.inverted, found.grid.may_have_age) == ("json", False, False)


def test_every_key(tmp_path: Path) -> None:
    """Every key is loaded, in watts, watt-hours, amperes and seconds."""
    found = section(tmp_path, COMPLETE)
    assert found.settings(2.0) == Settings(
        max_current_a=32,
        phases=3,
        min_current_a=8,
        one_phase_max_a=20,
        car_phases=2,
        start_after_s=90.0,
        pause_budget_wh=200.0,
        min_pause_s=300.0,
        reserve_w=-500.0,
        stale_after_s=120.0,
        battery="car",
        includes_charger=False,
        refresh_s=2.0,
    )
    assert (found.charger, found.mode, found.state) == ("garage", "control", "/data/surplus")
    grid, battery = found.grid, found.battery
    assert grid is not None
    assert battery is not None
    assert (grid.kind, grid.inverted, grid.may_have_age) == ("prometheus", True, True)
    assert grid.prometheus == "https://localhost:9090/prometheus"
    assert (battery.kind, battery.inverted, battery.may_have_age) == ("json", True, True)


def test_follow(tmp_path: Path) -> None:
    """Mode `follow` needs a number and the limits of the current."""
    found = section(tmp_path, FOLLOW)
    assert found.follow_settings(5.0) == FollowSettings(max_current_a=16, unit="A", refresh_s=5.0)


def test_feed(tmp_path: Path) -> None:
    """Mode `feed` needs the grid only, and may have two sources more; no limit of the current."""
    found = section(tmp_path, FEED)
    assert list(found.sources()) == ["grid", "battery", "pv"]
    assert (found.mode, found.stale_after, found.max_current) == ("feed", 30.0, None)
    assert [each.inverted for each in found.sources().values()] == [True, False, False]


def test_feed_over_the_cloud(tmp_path: Path) -> None:
    """A value every few seconds is too much for the cloud."""
    (tmp_path / "token").write_text("abc.def-1")
    charger = (
        "chargers: [{name: garage, host: 'https://012345.api.v3.go-e.io', serial: '012345',"
        f" token_file: {tmp_path}/token}}]\n"
    )
    path = tmp_path / "goe.yaml"
    path.write_text(charger + FEED)
    with pytest.raises(ConfigError) as refused:
        config.load(str(path))
    text = "must be a charger in the local network; the cloud is too slow, not 'garage'"
    assert refused.value.lines == (f"{path}:5:12: surplus.charger: {text}",)


@pytest.mark.parametrize(
    ("query", "plain"),
    [
        ("meter_power_watts", True),
        (' meter:power_watts { device="a}b", phase=~"L[12]"} ', True),
        ('{__name__="meter_power_watts"}', True),
        ("sum(meter_power_watts)", False),
        ("meter_power_watts[1m]", False),
        ("meter_power_watts offset 1m", False),
        ("-meter_power_watts", False),
        ("a_watts + b_watts", False),
        ("1", False),
    ],
)
def test_plain_selectors(query: str, plain: bool) -> None:
    """A name, matchers or both; a function, an operator or a range makes another query of it."""
    assert is_plain_selector(query) is plain


def test_charger_of_another_file(tmp_path: Path) -> None:
    """The charger may be in one of the charger files."""
    (tmp_path / "yard.yaml").write_text('- {name: yard, host: 192.168.1.37, serial: "012346"}\n')
    text = "charger_files: [yard.yaml]\n" + SMALL.replace("charger: garage", "charger: yard")
    assert section(tmp_path, text).charger == "yard"


def loaded(tmp_path: Path) -> Config:
    path = tmp_path / "goe.yaml"
    path.write_text(CHARGER + SMALL)
    return config.load(str(path))


def test_one_process_of_several(tmp_path: Path) -> None:
    """Of several processes, the one that polls the charger controls it."""
    shards = [
        run_config(loaded(tmp_path), (), "auto", None, None, shard=Shard(number, 2))
        for number in range(2)
    ]
    assert [each.surplus is not None for each in shards] == [bool(each.chargers) for each in shards]
    assert sum(each.surplus is not None for each in shards) == 1


def test_interval_of_the_command_line(tmp_path: Path) -> None:
    """A longer interval of the command line is rejected."""
    assert run_config(loaded(tmp_path), (), "auto", None, 10.0).surplus is not None
    with pytest.raises(UsageError) as refused:
        run_config(loaded(tmp_path), (), "auto", None, 11.0)
    assert str(refused.value) == "the surplus section requires --refresh-interval 10s or less"
