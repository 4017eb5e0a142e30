"""`goe-exporter surplus --once`: what it reads, says and would do; it never writes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commands import Goe
from fake_influx import Fakes, Received, Reply

from goe_exporter.simulator import Box, Car, Charger, Simulator
from goe_exporter.surplus.lease import Baseline, Lease
from goe_exporter.surplus.wear import Wear


class Home:
    """A charger, a meter in Prometheus, and the configuration of both.

    `powers` are the values of `grid` and `battery` (W), of 4 s ago.
    """

    def __init__(self, box: Box, fakes: Fakes, folder: Path) -> None:
        self.box = box
        self.folder = folder
        self.powers = {"grid": "-3210.4", "battery": "-500"}
        self.server = fakes(self._answer)
        self.config = str(folder / "goe.yaml")

    def _answer(self, request: Received) -> Reply:
        (query,) = request.query["query"]
        selector, _, with_time = query.partition(" or ")
        value = "4" if query.startswith("time()") else self.powers.get(selector)
        result = [] if value is None else [{"metric": {}, "value": [1782820983, value]}]
        if result and with_time:
            result.append({"metric": {"goe_time": "1"}, "value": [1782820983, "1782820979"]})
        data = {"resultType": "vector", "result": result}
        return Reply(200, json.dumps({"status": "success", "data": data}).encode())

    def write(self, *keys: str, mode: str = "control", sources: str = "") -> str:
        """Write the configuration and return its name."""
        url = self.server.url
        section = [
            f"mode: {mode}",
            "charger: garage",
            *([] if mode == "feed" else ["max_current: 16A", f"state: {self.folder}/state"]),
            sources or f"grid: {{prometheus: {url}, query: grid}}",
            *keys,
        ]
        chargers = f'chargers: [{{name: garage, host: "{self.box.address}", serial: "012345"}}]\n'
        Path(self.config).write_text(f"{chargers}surplus:\n  " + "\n  ".join(section) + "\n")
        return self.config

    @property
    def battery(self) -> str:
        return f"battery: {{prometheus: {self.server.url}, query: battery}}"

    def remember(self, lease: Lease) -> None:
        """Save the state of a running exporter."""
        (self.folder / "state").mkdir()
        saved = lease.saved(time.monotonic(), time.time())
        (self.folder / "state/012345.json").write_text(json.dumps(saved))


@pytest.fixture
def charger() -> Charger:
    """Return a charger at which a car has begun to charge, on three phases."""
    charger = Charger("V4", serial="012345")
    charger.plug(Car())
    charger.advance(120)
    return charger


@pytest.fixture
def home(charger: Charger, fakes: Fakes, tmp_path: Path) -> Iterator[Home]:
    with Simulator(clock=lambda: 1000.0) as simulator:
        home = Home(simulator.add(charger), fakes, tmp_path)
        yield home
        assert [target for _, target in home.box.log if "/api/set" in target] == []


Once = Callable[..., str]


@pytest.fixture
def once(goe: Goe) -> Once:
    """Return a function that runs the command and returns its lines after that of the charger."""

    def run(config: str, status: int = 0, error: str = "") -> str:
        outcome = goe("surplus", "--config.file", config, "--once")
        assert (outcome.status, outcome.err) == (status, error)
        assert max(map(len, outcome.out.splitlines())) <= 80
        return outcome.out.partition("\ngrid")[2] and "grid" + outcome.out.partition("\ngrid")[2]

    return run


def test_everything_safe(home: Home, goe: Goe) -> None:
    """Each number has its sentence; with a known age and a battery, nothing is unsafe."""
    config = home.write("phases: auto", home.battery)
    outcome = goe("surplus", "--config.file", config, "--once")
    assert (outcome.status, outcome.err) == (0, "")
    first, second, *rest = outcome.out.splitlines()
    assert first.startswith(f"garage     {home.box.address}, API v2: charging with 10,")
    assert second == "           force-state neutral"
    assert rest[:2] == [
        "grid       exporting 3,210 W, 4 s old",
        "battery    charging 500 W, 4 s old",
    ]
    assert rest[2].startswith("surplus    13,")
    assert rest[2].endswith("W: enough for 3 phases with 16 A")
    assert rest[3:] == [
        "decision   pause charging until there has been enough surplus for 60 s",
        "would set  force-state off",
    ]


def test_too_little(home: Home, once: Once) -> None:
    """The needed power is that of the number of phases on which charging would start."""
    home.powers["grid"] = "9800"
    # A phase has 228 V while 16 A are drawn.
    assert "not enough, charging needs 1,367 W\n" in once(home.write("phases: auto"))
    assert "not enough, charging needs 4,100 W\n" in once(home.write("phases: 3"))


def test_no_car(home: Home, charger: Charger, once: Once) -> None:
    """Without a car, the charger is prepared for the next one."""
    charger.unplug()
    assert once(home.write("phases: auto", home.battery)) == (
        "grid       exporting 3,210 W, 4 s old\n"
        "battery    charging 500 W, 4 s old\n"
        "surplus    3,110 W: enough for 1 phase with 13 A\n"
        "decision   wait for a car\n"
        "would set  max-current 6, phases 1\n"
    )


def test_own_pause(home: Home, charger: Charger, once: Once) -> None:
    """The pause of a running exporter does not count as a person's change."""
    charger.force = 1
    charger.advance(30)
    config = home.write("phases: auto", home.battery)
    assert "decision   none: somebody else changed force-state, which is respected" in once(config)
    now = time.monotonic()
    home.remember(
        Lease(Baseline(16, 0, "neutral"), frozenset(("force_state",)), Wear(paused_at=now))
    )
    assert "keep charging off until min_pause has passed since the last pause\n" in once(config)


def test_damaged_state(home: Home, once: Once) -> None:
    """A state that cannot be read is named."""
    (home.folder / "state").mkdir()
    (home.folder / "state/012345.json").write_text("{")
    report = " ".join(once(home.write("phases: auto")).split())
    assert "- The saved state of the exporter could not be read: " in report
    assert "state/012345.json is damaged." in report


def test_unsafe(home: Home, charger: Charger, once: Once) -> None:
    """Whatever makes the decision unsafe, or makes the charger decide too, is listed."""
    charger.access, charger.logic_mode, charger.use_surplus = 1, 4, True
    sources = f'grid: {{json: "{home.server.url}/?query=grid", path: "data.result[0].value[1]"}}'
    assert once(home.write("phases: auto", sources=sources)).partition("\n\n")[2] == (
        "- The age of grid is unknown: if the meter fails and the device repeats its last\n"
        "  value, charging pauses only after 5 minutes. Set time_path if the device\n"
        "  reports a time.\n"
        "- If there is a house battery, configure it under surplus.battery.\n"
        "- logic-mode is awattar; set it to default in the app.\n"
        "- pv-surplus-enabled is on; switch it off in the app, or the charger decides\n"
        "  too.\n"
        "- access is wait: after a pause, the charger may wait for a card. goe-exporter\n"
        "  set garage access open\n"
    )


def test_old_value(home: Home, once: Once) -> None:
    """A value that is older than `stale_after` is not used."""
    answer = home.server.rule
    home.server.rule = lambda request: Reply(
        200, answer(request).body.replace(b"1782820979", b"1782820908")
    )
    shown = once(home.write("phases: auto", home.battery.replace("query: battery", "query: grid")))
    assert shown.startswith("grid       exporting 3,210 W, 75 s old\n")
    assert "decision   pause charging because there is no recent value\n" in shown
    assert "- The value of grid is older than stale_after, 65 s.\n" in shown


def test_failed_source(home: Home, once: Once) -> None:
    """A source that fails says why, and the exit status is 1."""
    del home.powers["grid"]
    config = home.write("phases: auto", home.battery)
    assert once(config, 1, "goe-exporter: not usable: grid\n") == (
        "grid       the query found nothing; is the meter scraped?\n"
        "battery    charging 500 W, 4 s old\n"
    )


def test_failed_charger(home: Home, goe: Goe) -> None:
    """A charger that fails says why, beside the sources."""
    home.box.fault = "reset"
    outcome = goe("surplus", "--config.file", home.write("phases: auto"), "--once")
    assert (outcome.status, outcome.err) == (1, "goe-exporter: not usable: garage\n")
    assert "closed the" in outcome.out
    assert "grid       exporting 3,210 W, 4 s old\n" in outcome.out


def test_another_charger(home: Home, goe: Goe) -> None:
    """A charger with another serial number is not controlled."""
    home.box.charger = Charger("V4", serial="654321")
    outcome = goe("surplus", "--config.file", home.write("phases: auto"), "--once")
    assert outcome.status == 1
    assert "another charger answered" in " ".join(outcome.out.split())


def test_control_without_api_v2(home: Home, goe: Goe) -> None:
    """Mode `control` needs what only API v2 has."""
    home.box.charger = Charger("V2", serial="012345")
    outcome = goe("surplus", "--config.file", home.write("phases: 1"), "--once")
    assert outcome.status == 1
    assert "mode: control requires API v2" in " ".join(outcome.out.split())


def test_follow(home: Home, goe: Goe) -> None:
    """Mode `follow` sets the current to the number, and says that it never pauses."""
    home.box.charger = Charger("V2", serial="012345")
    home.box.charger.plug(Car())
    home.powers["amperes"] = "9.7"
    available = f"available: {{prometheus: {home.server.url}, query: amperes, unit: A}}"
    config = home.write(mode="follow", sources=available)
    outcome = goe("surplus", "--config.file", config, "--once")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.partition("\n")[2] == (
        "available  9.7 A, 4 s old\n"
        "decision   set the current to 9 A\n"
        "would set  max-current 9\n"
        "\n"
        "- Mode follow never pauses charging: if the number is below min_current, the car\n"
        "  draws the rest from the grid.\n"
    )


def test_feed(home: Home, charger: Charger, once: Once) -> None:
    """Mode `feed` shows the powers that would be sent, and why the charger does not use them."""
    home.powers |= {"battery": "-500.26", "solar": "4100"}
    pv = f"pv: {{prometheus: {home.server.url}, query: solar}}"
    assert once(home.write(home.battery, pv, mode="feed")) == (
        "grid       exporting 3,210 W, 4 s old\n"
        "battery    charging 500 W, 4 s old\n"
        "pv         producing 4,100 W, 4 s old\n"
        "decision   pass the powers on; the charger decides\n"
        "would send pGrid -3210.4 W, pPv 4100.0 W, pAkku -500.3 W\n"
        "\n"
        "- logic-mode is default; set it to Eco in the app, which is awattar here.\n"
        "- pv-surplus-enabled is off; switch it on in the app.\n"
    )
    charger.write("lmo", 4)
    charger.write("fup", True)
    charger.advance(2)
    assert once(home.write(mode="feed")) == (
        "grid       exporting 3,210 W, 4 s old\n"
        "decision   pass the powers on; the charger decides\n"
        "would send pGrid -3210.4 W\n"
        "\n"
        "- If there is a house battery, configure it under surplus.battery.\n"
    )


def test_feed_of_a_dead_meter(home: Home, once: Once) -> None:
    """A value that is missing is not sent as 0, and nothing is."""
    del home.powers["grid"]
    found = once(home.write(mode="feed"), 1, "goe-exporter: not usable: grid\n")
    assert "would send" not in found
    assert "decision" not in found


def test_feed_without_api_v2(home: Home, once: Once) -> None:
    """A charger without API v2 cannot be fed."""
    home.box.charger = Charger("V2", serial="012345")
    found = once(home.write(home.battery, mode="feed"))
    assert "decision   none: mode: feed requires API v2\nwould send nothing\n" in found


def test_feed_of_an_unknown_age(home: Home, once: Once) -> None:
    """The age of a JSON document is unknown, which is said."""
    grid = f'grid: {{json: "{home.server.url}/?query=grid", path: "data.result[0].value[1]"}}'
    found = " ".join(once(home.write(home.battery, mode="feed", sources=grid)).split())
    assert "exporting 3,210 W, age unknown" in found
    assert "if the meter fails and its last value is repeated, it is passed on for 5" in found


def test_feed_as_json(home: Home, goe: Goe) -> None:
    """JSON has the powers as a write of `ids`."""
    config = home.write(home.battery, mode="feed")
    outcome = goe("surplus", "--config.file", config, "--once", "--format", "json")
    assert json.loads(outcome.out)["decision"] == {
        "state": "feeding",
        "reason": "",
        "writes": [{"channel": "ids", "value": {"pGrid": -3210.4, "pAkku": -500.0}}],
    }


def test_release_in_mode_feed(home: Home, goe: Goe) -> None:
    """Nothing is on loan in this mode."""
    outcome = goe("surplus", "--config.file", home.write(mode="feed"), "--release")
    assert (outcome.status, outcome.err) == (
        2,
        "goe-exporter: mode: feed changes no setting, so there is nothing to give back\n",
    )


def test_json(home: Home, charger: Charger, goe: Goe) -> None:
    """JSON has the same content."""
    charger.unplug()
    config = home.write("phases: auto")
    outcome = goe("surplus", "--config.file", config, "--once", "--format", "json")
    found = json.loads(outcome.out)
    assert found.pop("sources")["grid"].pop("age_seconds") == pytest.approx(4, abs=3)
    assert found == {
        "charger": {
            "name": "garage",
            "host": home.box.address,
            "error": None,
            "car_state": "idle",
            "power_watts": 0.0,
        },
        "surplus_watts": 3210.4,
        "enough_for": {"phases": 1, "current_amperes": 14},
        "decision": {
            "state": "no_car",
            "reason": "",
            "writes": [
                {"channel": "max_current", "value": 6},
                {"channel": "phases", "value": 1},
            ],
        },
        "notes": ["If there is a house battery, configure it under surplus.battery."],
    }


def test_json_of_a_failure(home: Home, goe: Goe) -> None:
    """In JSON a failed source has a reason, and what follows from it is null."""
    del home.powers["grid"]
    config = home.write("phases: auto")
    outcome = goe("surplus", "--config.file", config, "--once", "--format", "json")
    assert outcome.status == 1
    found = json.loads(outcome.out)
    assert found["sources"]["grid"]["error"] == {
        "reason": "no_value",
        "message": "grid: the query found nothing; is the meter scraped?",
    }
    assert (found["surplus_watts"], found["enough_for"], found["decision"]) == (None, None, None)


def test_wrong_usage(home: Home, goe: Goe) -> None:
    """The command needs either --once or --release, and a section; only --once has JSON."""
    home.write("phases: auto")
    one = "goe-exporter: exactly one of --once and --release is required\n"
    assert goe("surplus", "--config.file", home.config) == (2, "", one)
    assert goe("surplus", "--config.file", home.config, "--once", "--release") == (2, "", one)
    outcome = goe("surplus", "--config.file", home.config, "--release", "--format", "json")
    no_json = "goe-exporter: --format: must be text with --release, which has no JSON\n"
    assert outcome == (2, "", no_json)
    Path(home.config).write_text("chargers: []\n")
    outcome = goe("surplus", "--config.file", home.config, "--once")
    assert outcome.status == 2
    assert outcome.err == f"goe-exporter: {home.config} has no surplus section\n"


def test_release_with_a_damaged_state(home: Home, goe: Goe) -> None:
    """It does not claim that nothing is left to give back; the file is set aside."""
    (home.folder / "state").mkdir()
    file = home.folder / "state/012345.json"
    file.write_text("{")
    outcome = goe("surplus", "--config.file", home.write("phases: auto"), "--release")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == (
        f"goe-exporter: the state was damaged, and is now {file.with_suffix('.damaged')}: what the"
        " surplus has changed is unknown; check max-current, phases and force-state\n"
    )


def test_release_without_a_usable_state(home: Home, goe: Goe) -> None:
    """A directory that cannot be used is the error, not an exporter that runs."""
    (home.folder / "state").write_text("")
    outcome = goe("surplus", "--config.file", home.write("phases: auto"), "--release")
    assert outcome.status == 2
    assert outcome.err == (
        f"goe-exporter: cannot use the surplus state {home.folder}/state: Not a directory\n"
    )
