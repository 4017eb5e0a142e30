"""The control loop with a simulated charger and meter, over real sockets, in a time of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from log_records import recorded
from surplus_home import Home, Street

from goe_exporter.durable import files
from goe_exporter.simulator import Car, Charger, settings
from goe_exporter.surplus.lease import Lease


@pytest.fixture
def noon() -> Iterator[Street]:
    """A house at 11 o'clock on a sunny day, with a car."""
    street = Street("sunny", start_hour=11)
    yield street
    street.close()


@pytest.fixture
def evening() -> Iterator[Street]:
    """A house at 19 o'clock, when the sun is too low, with a car."""
    street = Street("sunny", start_hour=19)
    yield street
    street.close()


def charging(street: Street, state: Path) -> Home:
    """Return a home whose car has charged for a while with a proven meter."""
    home = street.home(state / "state")
    home.run(900, until="charging")
    home.run(400)
    assert home.rule.lease.proven
    assert home.state == "charging"
    return home


def events(kept: list[Any]) -> list[dict[str, object]]:
    """Return the surplus' own lines: the event, and the values."""
    return [{"event": record.getMessage(), **getattr(record, "values", {})} for record in kept]


def settings_of(charger: Charger) -> tuple[int, int, int]:
    """Return amp, psm and frc."""
    return charger.amp, charger.phase_mode, charger.force


def test_requests_are_polls_and_writes(noon: Street, tmp_path: Path) -> None:
    """The charger receives no other requests, and the writes are those that are counted."""
    home = charging(noon, tmp_path)
    home.run(1200)
    vitals = home.control.vitals()
    polls = home.poller.view().stats.polls
    names = {"max_current": "amp", "phases": "psm", "force_state": "frc"}
    assert {names[key]: count for key, count in vitals.writes.items()} == dict(noon.charger.writes)
    assert noon.box.requests == polls + sum(vitals.writes.values())
    assert not vitals.write_failures


@pytest.mark.parametrize(("refresh_s", "steps"), [(1.0, 6), (3.0, 19), (5.0, 30), (6.5, 59)])
def test_a_step_takes_ten_seconds_at_most(
    noon: Street, tmp_path: Path, refresh_s: float, steps: int
) -> None:
    """It decides after as many polls as fit into ten seconds, of 60 after each 10th, 3rd, 2nd.

    The first decision waits for ten seconds.
    """
    home = noon.home(tmp_path / "state", refresh_s=refresh_s)
    for _ in range(60):
        noon.clock.now += refresh_s
        home.poll()
    assert noon.meter.requests == steps


def test_a_car_waits_and_is_charged(noon: Street, tmp_path: Path) -> None:
    """A car is paused at first, then starts at 6 A, and follows the surplus; each change is a line.

    The meter proves itself before the current rises beyond a step.
    """
    home = noon.home(tmp_path / "state")
    with recorded() as kept:
        home.run(20)
        assert noon.charger.force == 1
        assert home.state == "waiting"
        home.run(900, until="charging")
        home.run(20)
        assert settings_of(noon.charger) == (6, 1, 0)
        home.run(900)
    lines = events([record for record in kept if record.levelname != "DEBUG"])
    assert [line["event"] for line in lines][:2] == [
        "surplus charging paused",
        "surplus charging started",
    ]
    assert lines[1]["charger"] == "garage"
    assert (lines[1]["phases"], lines[1]["current"]) == (1, 6)
    assert noon.charger.amp > 6
    vitals = home.control.vitals()
    assert (vitals.starts, vitals.pauses, vitals.hand_overs) == (1, 1, 0)
    assert vitals.energy_wh["sun"] > 10 * vitals.energy_wh["grid"] > 0
    assert vitals.sources[0].up is True
    assert vitals.sources[0].age_s is not None


@pytest.mark.parametrize("key", ["amp", "psm", "on", "off"])
def test_a_person_while_charging(noon: Street, tmp_path: Path, key: str) -> None:
    """A change counts in the second poll; what the person did not touch is given back, once."""
    home = charging(noon, tmp_path)
    amps, mode = (12 if noon.charger.amp != 12 else 13), (3 - noon.charger.phase_mode)
    written, value, left, option, shown = {
        "amp": ("amp", amps, (amps, 0, 0), "max-current", amps),
        "psm": ("psm", mode, (16, mode, 0), "phases", {1: 1, 2: 3}[mode]),
        "on": ("frc", 2, (16, 0, 2), "force-state", "on"),
        "off": ("frc", 1, (16, 0, 1), "force-state", "off"),
    }[key]
    noon.write(written, value)
    with recorded() as kept:
        home.run(30)
        assert home.state == "handed_over"
        home.run(10)
        assert settings_of(noon.charger) == left
        writes = sum(noon.charger.writes.values())
        home.run(1800)
    assert sum(noon.charger.writes.values()) == writes
    line = next(each for each in events(kept) if "changed by somebody else" in str(each["event"]))
    assert (line["key"], line["to"]) == (option, shown)
    assert home.control.vitals().hand_overs == 1


@pytest.mark.parametrize(
    ("key", "value", "left"),
    [
        ("amp", 10, (10, 0, 1)),
        ("psm", 2, (16, 2, 1)),
        ("frc", 2, (16, 0, 2)),
        ("frc", 0, (16, 0, 0)),
    ],
)
def test_a_person_while_paused(
    evening: Street, tmp_path: Path, key: str, value: int, left: tuple[int, int, int]
) -> None:
    """In a pause too, a changed setting is kept, and the pause ends with the control."""
    home = evening.home(tmp_path / "state")
    home.run(60)
    assert home.state == "waiting"
    assert evening.charger.force == 1
    evening.write(key, value)
    home.run(60)
    assert home.state == "handed_over"
    expected = (left[0], left[1], 0 if key != "frc" else left[2])
    assert settings_of(evening.charger) == expected


def test_stop_during_a_hand_over(noon: Street, tmp_path: Path) -> None:
    """What a person has changed is not given back, even if the exporter stops at once."""
    home = charging(noon, tmp_path)
    noon.write("amp", 12 if noon.charger.amp != 12 else 13)
    home.run(60, until="handed_over")
    home.control.stop(noon.clock.now + 3)
    noon.clock.now += 2
    noon.box.catch_up()
    assert noon.charger.amp in (12, 13)
    assert noon.charger.phase_mode == 0


def test_control_begins_again_with_the_next_car(noon: Street, tmp_path: Path) -> None:
    """A hand-over ends when the car leaves; then the charger is prepared for the next one."""
    home = charging(noon, tmp_path)
    noon.write("amp", 12)
    home.run(30)
    assert home.state == "handed_over"
    noon.leave()
    home.run(30)
    assert home.state == "no_car"
    assert settings_of(noon.charger) == (6, 1, 0)


@pytest.mark.parametrize("step_s", [-3600.0, 40.0, 86_400.0])
def test_clock_that_is_set(noon: Street, tmp_path: Path, step_s: float) -> None:
    """The wall clock may be set while a car charges: it is the same car, and it goes on."""
    home = charging(noon, tmp_path)
    operations = noon.charger.contactor_operations
    noon.clock.step_s = step_s
    home.run(120)
    assert home.state == "charging"
    assert noon.charger.contactor_operations == operations
    noon.write("amp", 12 if noon.charger.amp != 12 else 13)
    home.run(60, until="handed_over")
    noon.clock.step_s = 0.0
    home.run(120)
    assert home.state == "handed_over"


def test_another_charger_gets_no_write(noon: Street, tmp_path: Path) -> None:
    """If another charger answers at the address, nothing is written to it."""
    home = charging(noon, tmp_path)
    stranger = Charger("V4", serial="999999")
    noon.box.charger = stranger
    home.run(120)
    assert home.state == "unreachable"
    assert not stranger.writes


def test_sources_are_left_alone_without_a_car(noon: Street, tmp_path: Path) -> None:
    """Without a car the meter receives no request."""
    noon.leave()
    home = noon.home(tmp_path / "state")
    home.run(60)
    assert home.state == "no_car"
    assert noon.meter.requests == 0


def test_a_dead_meter(noon: Street, tmp_path: Path) -> None:
    """Nothing rises from the first missed read; charging pauses 75 s after the last good one."""
    home = charging(noon, tmp_path)
    amps = noon.charger.amp
    noon.meter.fault = "reset"
    with recorded() as kept:
        for _ in range(6):
            home.run(10)
            assert noon.charger.amp <= amps
        home.run(20)
    assert noon.charger.force == 1
    assert home.state == "blind"
    found = [line["event"] for line in events(kept) if line["event"] != "surplus write sent"]
    assert found == ["surplus source failed", "surplus charging paused", "surplus unknown"]
    source = home.control.vitals().sources[0]
    assert (source.up, source.power_w, source.age_s) == (False, None, None)
    assert sum(source.failures.values()) >= 6


def test_a_source_that_begins_with_the_loop(noon: Street, tmp_path: Path) -> None:
    """Only the first read may fail unseen: the source may be the exporter itself."""
    home = noon.home(tmp_path / "state")
    noon.meter.fault = "reset"
    before = settings_of(noon.charger)
    with recorded() as kept:
        home.run(10)
        assert settings_of(noon.charger) == before
        noon.meter.fault = None
        home.run(20)
    (source,) = home.control.vitals().sources
    assert (source.up, dict(source.failures)) == (True, {})
    assert not {"surplus source failed", "surplus is unknown"} & {
        str(line["event"]) for line in events(kept)
    }
    other = noon.home(tmp_path / "other")
    noon.meter.fault = "reset"
    with recorded() as kept:
        other.run(20)
    assert next(line["event"] for line in events(kept)) == "surplus source failed"
    assert sum(other.control.vitals().sources[0].failures.values()) == 1


def test_writes_that_fail(evening: Street, tmp_path: Path) -> None:
    """A refused write is counted, logged once a minute at most, and tried again."""
    home = evening.home(tmp_path / "state")
    evening.charger.refused_keys.add("frc")
    with recorded() as kept:
        home.run(120)
    vitals = home.control.vitals()
    assert vitals.state == "unconfirmed"
    assert vitals.write_failures["rejected"] >= 3
    failed = [line for line in events(kept) if line["event"] == "surplus write failed"]
    assert len(failed) == 1
    assert "value not allowed" in str(failed[0]["error"])
    evening.charger.refused_keys.clear()
    home.run(120)
    assert evening.charger.force == 1


def test_without_a_disk_only_less_is_written(
    noon: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the lease cannot be saved, charging may pause, but it does not start."""
    home = noon.home(tmp_path / "state")

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "replace", full)
    with recorded() as kept:
        home.run(600)
    assert noon.charger.force == 1
    lines = [line for line in events(kept) if line["event"] == "surplus state not saved"]
    assert lines[0]["error"] == "No space left on device"


def test_without_a_disk_nothing_new_is_borrowed(
    noon: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found would be lost in a crash; later the charger's phases can still be changed."""
    noon.leave()
    home = noon.home(tmp_path / "state")

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "replace", full)
    home.run(600)
    assert (home.state, settings_of(noon.charger)) == ("no_car", (16, 0, 0))
    assert not noon.charger.writes
    monkeypatch.undo()
    home.run(40)
    assert settings_of(noon.charger) == (6, 1, 0)


def test_a_slow_disk(noon: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was decided longer than a step ago may only lower the power: the sun may be gone."""
    home = noon.home(tmp_path / "state")
    save = home.lease_file.save

    def slow(lease: Lease) -> None:
        save(lease)
        noon.clock.now += 10

    monkeypatch.setattr(home.lease_file, "save", slow)
    home.run(900)
    assert noon.charger.force == 1
    assert noon.charger.writes["frc"] == 1
    monkeypatch.undo()
    home.run(300, until="charging")


def test_an_internal_error_gives_the_charger_back(
    noon: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged and counted, the control ends, and polls go on."""
    home = charging(noon, tmp_path)

    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(home.rule, "decided", broken)
    with recorded() as kept:
        home.run(20)
    assert settings_of(noon.charger) == (16, 0, 0)
    assert home.state == "unknown"
    assert home.control.vitals().internal_errors == 1
    aborted = [record for record in kept if record.exc_info]
    assert len(aborted) == 1
    assert home.poller.view().stats.up


def test_stop_gives_back(noon: Street, tmp_path: Path) -> None:
    """Current and phase mode are given back, and the lease holds nothing any more."""
    home = charging(noon, tmp_path)
    with recorded() as kept:
        home.control.stop(noon.clock.now + 3)
    noon.clock.now += 2
    noon.box.catch_up()
    assert settings_of(noon.charger) == (16, 0, 0)
    lines = [line for line in events(kept) if line["event"] == "settings given back"]
    assert [line["given_back"] for line in lines] == ["max-current=16 phases=auto"]
    assert noon.home(tmp_path / "state").rule.lease.owned == frozenset()


def test_stop_leaves_a_pause(evening: Street, tmp_path: Path) -> None:
    """The exporter's own "off" stays, and the next process recognises it as its own."""
    home = evening.home(tmp_path / "state")
    home.run(60)
    with recorded() as kept:
        home.control.stop(evening.clock.now + 3)
    assert evening.charger.force == 1
    assert any("--release" in str(line.get("to_end_it")) for line in events(kept))
    again = evening.home(tmp_path / "state")
    again.run(30)
    assert again.state == "waiting"
    assert evening.charger.force == 1


def test_stop_before_the_first_decision(noon: Street, tmp_path: Path) -> None:
    """What a killed process has left is given back, although nothing was decided yet."""
    home = charging(noon, tmp_path)
    home.lease_file.close()  # the lock of a killed process is gone
    again = noon.home(tmp_path / "state")
    noon.clock.now += 5
    again.poll()
    assert again.state == "unknown"
    again.control.stop(noon.clock.now + 3)
    noon.clock.now += 2
    noon.box.catch_up()
    assert settings_of(noon.charger) == (16, 0, 0)
    assert again.rule.lease.owned == frozenset()


def test_restart_beside_a_slow_charger(
    evening: Street, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A charger that shows what was given back after 7 s does not look like a person's change."""
    monkeypatch.setattr(settings.accept, "__defaults__", (7.0,))
    evening.leave()
    home = evening.home(tmp_path / "state")
    home.run(60)
    with evening.box.lock:
        evening.charger.plug(Car())
    home.run(60)
    assert settings_of(evening.charger) == (6, 1, 1)
    home.control.stop(evening.clock.now + 3)
    again = evening.home(tmp_path / "state", refresh_s=1.0)
    for _ in range(60):
        evening.clock.now += 1
        again.poll()
    assert settings_of(evening.charger) == (16, 0, 1)
    assert again.control.vitals().hand_overs == 0


def test_stop_of_a_charger_that_refuses(noon: Street, tmp_path: Path) -> None:
    """The log has the command that gives back by hand, and the lease keeps what is left."""
    home = charging(noon, tmp_path)
    noon.charger.refused_keys.add("psm")
    with recorded() as kept:
        home.control.stop(noon.clock.now + 3)
    left = [line for line in events(kept) if line["event"] == "setting not given back"]
    host = noon.box.address
    assert [line["by_hand"] for line in left] == [f"goe-exporter set {host} phases auto"]
    assert noon.home(tmp_path / "state").rule.lease.owned == {"phases"}


def test_stop_keeps_the_limit_of_operations(noon: Street, tmp_path: Path) -> None:
    """A contactor that was operated 18 times in an hour is not operated to give the phases back."""
    home = charging(noon, tmp_path)
    wear = home.rule.lease.wear._replace(operations=(noon.clock.now,) * 18)
    home.rule.lease = home.rule.lease._replace(wear=wear)
    mode = noon.charger.phase_mode
    with recorded() as kept:
        home.control.stop(noon.clock.now + 3)
    noon.clock.now += 2
    noon.box.catch_up()
    assert settings_of(noon.charger) == (16, mode, 0)
    left = [line for line in events(kept) if line["event"] == "setting not given back"]
    assert [line["error"] for line in left] == [
        "the contactor is operated at most 20 times an hour"
    ]
    assert noon.home(tmp_path / "state").rule.lease.owned == {"phases"}


def test_a_crash_is_no_person(noon: Street, tmp_path: Path) -> None:
    """After a process was killed while charging, the next one continues charging."""
    home = charging(noon, tmp_path)
    operations = noon.charger.contactor_operations
    home.lease_file.close()  # the lock of a killed process is gone
    again = noon.home(tmp_path / "state")
    again.run(120)
    assert again.state == "charging"
    assert noon.charger.contactor_operations == operations
    assert again.control.vitals().hand_overs == 0


def test_a_charger_without_api_v2(noon: Street, tmp_path: Path) -> None:
    """A charger whose API v2 is switched off cannot be controlled: a line says what is missing."""
    noon.box.api = "1"
    home = noon.home(tmp_path / "state")
    with recorded() as kept:
        home.run(60)
    assert home.state == "unreachable"
    lacking = [
        line for line in events(kept) if line["event"] == "values for surplus charging missing"
    ]
    assert lacking[0]["reason"] == "force_state,phase_mode"
    assert not noon.charger.writes


def test_a_charger_that_is_not_prepared(noon: Street, tmp_path: Path) -> None:
    """A setting with which the charger decides by itself is logged once."""
    noon.write("fup", True)
    home = noon.home(tmp_path / "state")
    with recorded() as kept:
        home.run(120)
    hints = [
        line
        for line in events(kept)
        if line["event"] == "charger not prepared for surplus charging"
    ]
    assert [line["hint"] for line in hints] == [
        "pv-surplus-enabled is on; switch it off in the app, or the charger decides too."
    ]


def test_stalled(noon: Street, tmp_path: Path) -> None:
    """A step that lasts for more than a minute is a stalled component."""
    home = noon.home(tmp_path / "state")
    stalled: list[bool] = []

    class Hanging:
        name = "grid"

        def read(self, _until: float) -> None:
            for _ in range(2):
                noon.clock.now += 40
                stalled.append(home.control.is_stalled())
            raise AssertionError

    home.inputs._sources = {"grid": Hanging()}  # type: ignore[dict-item]
    home.run(10)
    assert stalled == [False, True]
    assert not home.control.is_stalled()
