"""A go-e Controller beside a charger, over real sockets and in one process."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest
from exporters import LISTEN, Exporter
from exposed import lint

from goe_exporter.simulator import Charger, Controller, House, Simulator

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Goe, Launch

NOON = 12 * 3600


def controller() -> Controller:
    return Controller(House("sunny", start_s=NOON), serial="654321", name="House")


def words(text: str) -> str:
    return " ".join(text.split())


# In one process


def test_both_devices_in_one_process(
    launch: Launch, standing_still: Simulator, tmp_path: Path
) -> None:
    """Each has its metrics, its JSON and its place on the page; promtool finds nothing."""
    charger = standing_still.add(Charger("V4", serial="123456"))
    house = standing_still.add_controller(controller())
    config = tmp_path / "config.yaml"
    config.write_text(
        f"chargers: [{{name: garage, host: '{charger.address}', serial: '123456'}}]\n"
        f"controllers: [{{name: house, host: '{house.address}', serial: '654321',"
        f" labels: {{site: home}}}}]\n"
    )
    exporter = Exporter(launch("serve", "--config.file", str(config), *LISTEN))
    exporter.wait('goe_up{charger="garage"}', 1)
    exporter.wait('goe_controller_up{controller="house"}', 1)
    text = exporter.get("metrics")
    lint(text)
    found = exporter.samples()
    solar = found['goe_controller_power_watts{category="solar",controller="house"}']
    assert 6000 < solar < 9000
    assert found['goe_controller_info{controller="house",site="home"}'] == 1
    assert 'goe_up{charger="house"}' not in text
    assert not re.search(r'^goe_(?!controller_).*="house"', text, re.MULTILINE)
    (one,) = json.loads(exporter.get("api/v1/controllers"))["controllers"]
    assert (one["name"], one["up"], one["labels"]) == ("house", True, {"site": "home"})
    assert one["readings"]["power"]["solar"] == solar
    assert one["readings"]["category_name"]["grid"] == "Grid"
    assert json.loads(exporter.get("api/v1/controllers/house"))["readings"] == one["readings"]
    (charger_json,) = json.loads(exporter.get("api/v1/chargers"))["chargers"]
    assert charger_json["name"] == "garage"
    assert 'goe_controller_up{controller="house"}' in exporter.get("probe?target=house")
    targets = [each["labels"]["__param_target"] for each in json.loads(exporter.get("sd"))]
    assert targets == ["garage", "house"]
    page = words(re.sub("<[^>]*>", " ", exporter.get("")))
    assert "House house Grid" in page
    assert exporter.command.end(signal.SIGTERM).status == 0
    # At most 35 keys, in one request per poll.
    filters = [target.partition("filter=")[2].split(",") for _time, target in house.log]
    assert max(map(len, filters)) == 15


@pytest.mark.parametrize(
    ("section", "title", "right"),
    [
        ("chargers", "go-e Controller", "controllers"),
        ("controllers", "go-eCharger", "chargers"),
    ],
)
def test_a_device_in_the_wrong_section(
    launch: Launch, standing_still: Simulator, tmp_path: Path, section: str, title: str, right: str
) -> None:
    """It has no reading, and the log says where it belongs."""
    box = (
        standing_still.add(Charger("V4"))
        if section == "controllers"
        else standing_still.add_controller(controller())
    )
    config = tmp_path / "config.yaml"
    config.write_text(f"{section}: [{{name: box, host: '{box.address}'}}]\n")
    exporter = Exporter(launch("serve", "--config.file", str(config), *LISTEN))
    prefix, label = ("goe_controller", "controller") if right == "chargers" else ("goe", "charger")
    exporter.wait(f'{prefix}_poll_failures_total{{{label}="box",reason="wrong_device"}}', 1)
    message = f"{box.address}: this is a {title}: in the configuration it belongs under {right}"
    exporter.command.line(f'{label}=box reason=wrong_device error="{re.escape(message)}"')
    assert f"{prefix}_device_info{{" not in exporter.get("metrics")


# read, set and simulate


@pytest.mark.parametrize("arguments", [(), ("--api", "2")])
def test_read_recognises_a_controller(
    goe: Goe, standing_still: Simulator, arguments: tuple[str, ...]
) -> None:
    """`read HOST` prints the channels of what answers."""
    box = standing_still.add_controller(controller())
    outcome = goe("read", f"house={box.address}", *arguments)
    assert (outcome.status, outcome.err) == (0, "")
    text = words(outcome.out)
    assert "house API v2" in text
    assert re.search(r"power home [\d.]+ grid -[\d.]+ car 0 solar [\d.]+ W", text)
    assert "category-name home: Home" in text
    found = goe("read", f"house={box.address}", *arguments, "--format", "influx").out
    assert found.startswith("goe_controller,controller=house,serial=654321 up=true,power_home_w=")
    lint(goe("read", f"house={box.address}", *arguments, "--format", "prometheus").out)


def test_read_both(goe: Goe, standing_still: Simulator, tmp_path: Path) -> None:
    """A configuration's devices are read together; JSON has a list of each kind."""
    charger = standing_still.add(Charger("V4"))
    house = standing_still.add_controller(controller())
    config = tmp_path / "config.yaml"
    config.write_text(
        f"chargers: [{{name: garage, host: '{charger.address}'}}]\n"
        f"controllers: [{{name: house, host: '{house.address}'}}]\n"
    )
    outcome = goe("read", "--config.file", str(config), "--format", "json")
    assert (outcome.status, outcome.err) == (0, "")
    found = json.loads(outcome.out)
    assert [each["name"] for each in found["chargers"]] == ["garage"]
    assert [each["name"] for each in found["controllers"]] == ["house"]
    only = json.loads(goe("read", "--config.file", str(config), "house", "--format", "json").out)
    assert only["readings"]["model"] == "controller"


def test_read_of_a_controller_that_fails(goe: Goe, standing_still: Simulator) -> None:
    """If the poll that reads it as a Controller fails, the reason of this poll is shown."""
    box = standing_still.add_controller(controller())
    box.fault, box.fault_every = "busy", 2
    outcome = goe("read", box.address)
    message = '"couldn\'t take api lock in 3s, please try again later"'
    assert outcome == (1, "", f"goe-exporter: {box.address}: HTTP 500: {message}\n")


def test_nothing_is_set_on_a_configured_controller(goe: Goe, tmp_path: Path) -> None:
    """`set` names a Controller of the configuration as one, by its name or its host."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "chargers: [{name: garage, host: 192.0.2.7}]\n"
        "controllers: [{name: house, host: 192.0.2.8}]\n"
    )
    for text in ("house", "192.0.2.8"):
        outcome = goe("set", "--config.file", str(config), text, "max-current", "10")
        what = f"{text!r} is a go-e Controller, on which nothing can be set"
        assert outcome == (2, "", f"goe-exporter: {config}: {what}\n")


def test_nothing_is_set_on_a_controller(goe: Goe, standing_still: Simulator) -> None:
    """`set` says what answered, and sends nothing."""
    box = standing_still.add_controller(controller())
    outcome = goe("set", box.address, "max-current", "10")
    message = "this is a go-e Controller: in the configuration it belongs under controllers"
    assert outcome == (1, "", f"goe-exporter: {box.address}: {message}\n")
    assert not [target for _time, target in box.log if target.startswith("/api/set")]


def test_simulate_a_controller(goe: Goe, launch: Launch) -> None:
    """`simulate --model Controller` answers as one."""
    running = launch("simulate", "--model", "Controller", "--listen", "127.0.0.1:0")
    address = running.line(r"Simulated Controller at http://(127\.0\.0\.1:\d+)/")[1]
    assert "controller" in goe("read", address).out
    assert running.end(signal.SIGINT).status == 0
    outcome = goe("simulate", "--model", "Controller", "--api", "1")
    others = "--api 1, --no-story, --meter-listen, --meter-fault"
    assert outcome == (
        2,
        "",
        f"goe-exporter: --model: Controller cannot be combined with {others}\n",
    )
