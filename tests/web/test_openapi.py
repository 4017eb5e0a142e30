"""The JSON API against its own OpenAPI 3.1 description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from exposed import controller
from jsonschema import Draft202012Validator, ValidationError
from openapi_spec_validator import validate
from paths import FIXTURES
from sites import Site

from goe_exporter.channels.controller import CONTROLLER
from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger.api_v1 import status as translated
from goe_exporter.charger.client import Client
from goe_exporter.influx.stats import DeliveryStats
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.view import ChargerView, Poll, PollStats
from goe_exporter.simulator import Car, Charger, Simulator
from goe_exporter.web import json_api
from goe_exporter.web.history import History

FIXTURES = sorted(FIXTURES.glob("*.json"))
NAMES = (
    "garage",
    "a/b",
    "a/b/history",
    "%2F",
    "ä ö?#&",
    "<img src=x onerror=alert(1)>\"'&" + "x" * 300,
)


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    """Return the description as the server sends it."""
    with Site(list) as site:
        found: dict[str, Any] = json.loads(site.ask("/api/v1/openapi.json").body)
    return found


def check(description: dict[str, Any], schema: str, body: bytes) -> Any:
    """Validate a response against a schema of the description, and return it."""
    answer = json.loads(body)
    reference = {"$ref": f"#/components/schemas/{schema}"} | description
    Draft202012Validator(reference).validate(answer)
    return answer


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Yield a site of simulated chargers with hostile names, one down, one not polled yet."""
    history = History()
    with Simulator(speed=20) as simulator:
        pollers = []
        for model, name in zip(("V2", "V3", "V4", "PRO", "V4", "V4"), NAMES, strict=True):
            charger = Charger(model)
            charger.plug(Car(wait_s=1))
            charger.advance(60)
            box = simulator.add(charger)
            one = Poller(name, box.address, Client(box.address), sink=history.take)
            while not one.complete:
                one.poll()
            pollers.append(one)
            if name == "%2F":
                box.close()
                one.poll()
        pollers.append(Poller("new", "192.0.2.1", Client("192.0.2.1")))
        with Site(lambda: [one.view() for one in pollers], history) as running:
            yield running


def test_it_is_openapi(description: dict[str, Any]) -> None:
    """The description is valid OpenAPI 3.1 and contains every path of the API."""
    validate(description)
    assert description["openapi"] == "3.1.0"
    assert set(description["paths"]) == {
        *("/api/v1/chargers", "/api/v1/chargers/{name}", "/api/v1/chargers/{name}/history"),
        *("/api/v1/controllers", "/api/v1/controllers/{name}"),
        *("/api/v1/influx", "/probe", "/sd"),
    }
    assert all(set(path) == {"get"} for path in description["paths"].values())


def test_every_channel_is_described(description: dict[str, Any]) -> None:
    """Each channel is a property with its help text."""
    charger = description["components"]["schemas"]["Charger"]
    readings = charger["properties"]["readings"]["properties"]
    assert list(readings) == [each.name for each in CHANNELS if not each.info_only]
    assert readings["power"] == {
        "description": "Active power of all phases. In W.",
        "type": "number",
    }


def test_chargers(site: Site, description: dict[str, Any]) -> None:
    """All chargers, of every model, down or not polled yet, match the description."""
    answer = check(description, "Chargers", site.ask("/api/v1/chargers").body)
    assert [charger["name"] for charger in answer["chargers"]] == [*NAMES, "new"]
    assert [charger["up"] for charger in answer["chargers"]] == [
        True,
        True,
        True,
        False,
        True,
        True,
        None,
    ]
    assert len(answer["chargers"][2]["readings"]) > 25


@pytest.mark.parametrize("name", NAMES)
def test_one_charger(site: Site, description: dict[str, Any], name: str) -> None:
    """A charger is found by its name, whatever characters it has."""
    answer = check(
        description, "Charger", site.ask(f"/api/v1/chargers/{quote(name, safe='')}").body
    )
    assert answer["name"] == name


def test_labels(description: dict[str, Any]) -> None:
    """A charger's labels are an object; without labels there is no such key."""
    view = ChargerView("a", "192.0.2.1", PollStats(), None, None, labels={"site": "depot"})
    with Site(lambda: [view, replace(view, labels={})]) as site:
        answer = check(description, "Chargers", site.ask("/api/v1/chargers").body)
    labeled, plain = answer["chargers"]
    assert labeled["labels"] == {"site": "depot"}
    assert labeled == plain | {"labels": {"site": "depot"}}
    assert "labels" not in plain


@pytest.mark.parametrize("name", ["controller_house", "controller_evil"])
def test_controllers(description: dict[str, Any], name: str) -> None:
    """Controllers match the description, whatever they report."""
    with Site(lambda: [controller(name)]) as site:
        answer = check(description, "Controllers", site.ask("/api/v1/controllers").body)
        one = check(description, "Controller", site.ask("/api/v1/controllers/house").body)
    assert answer == {"controllers": [one]}
    schema = description["components"]["schemas"]["Controller"]["properties"]["readings"]
    assert set(schema["properties"]) == {row.name for row in CONTROLLER.channels}
    energy = schema["properties"]["energy"]["properties"]
    assert set(energy["grid"]["properties"]) == {"in", "out"}


@pytest.mark.parametrize("name", [*NAMES, "new"])
def test_history(site: Site, description: dict[str, Any], name: str) -> None:
    """The history matches the description, and every list is as long as the times."""
    reply = site.ask(f"/api/v1/chargers/{quote(name, safe='')}/history?minutes=1")
    answer = check(description, "History", reply.body)
    assert (answer["charger"], answer["minutes"]) == (name, 1)
    length = len(answer["timestamps_seconds"])
    for values in answer["series"].values():
        lists = [values] if isinstance(values, list) else values.values()
        assert {len(each) for each in lists} == {length}
    assert (length > 0) is (name != "new")
    if name == "garage":
        assert answer["series"]["power"][-1] > 1000
        assert set(answer["series"]["phase_current"]) == {"L1", "L2", "L3"}


@pytest.mark.parametrize(
    "minutes", ["0", "61", "-1", "1.5", "x", "", "1e1", "٣", "9" * 5000, "1&minutes=0"]
)
def test_wrong_minutes(site: Site, description: dict[str, Any], minutes: str) -> None:
    """Anything else than a whole number from 1 to 60 is 400, with the rule in the error."""
    reply = site.ask(f"/api/v1/chargers/garage/history?minutes={quote(minutes, safe='&=')}")
    assert reply.status == 400
    answer = check(description, "Error", reply.body)
    assert answer["error"].startswith("minutes: must be a whole number from 1 to 60, not '")
    assert len(answer["error"]) < 150


def test_the_default_is_an_hour(site: Site) -> None:
    """Without `minutes` the response covers the whole hour."""
    assert json.loads(site.ask("/api/v1/chargers/garage/history").body)["minutes"] == 60


@pytest.mark.parametrize("path", ["nobody", "nobody/history", "nobody/history?minutes=x"])
def test_unknown_charger(site: Site, description: dict[str, Any], path: str) -> None:
    """An unknown name is 404 with a JSON error."""
    reply = site.ask(f"/api/v1/chargers/{path}")
    assert reply.status == 404
    assert check(description, "Error", reply.body) == {"error": "no charger is named 'nobody'"}


def test_targets(site: Site, description: dict[str, Any]) -> None:
    """The targets of all chargers match the description."""
    answer = check(description, "Targets", site.ask("/sd").body)
    assert [target["labels"]["__param_target"] for target in answer] == [*NAMES, "new"]
    assert all("__meta_goe_serial" in target["labels"] for target in answer[:-1])


def test_influx(description: dict[str, Any]) -> None:
    """The response matches the description with InfluxDB and without it."""
    stats = DeliveryStats(1, 2, 3, 4, 5, 6, 1_750_000_000.5, "timeout", {"timeout": 2})
    for influx in (None, lambda: asdict(stats)):
        with Site(list, influx=influx) as site:
            check(description, "Influx", site.ask("/api/v1/influx").body)


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_fixtures(description: dict[str, Any], path: Path) -> None:
    """The status of real and of hostile chargers becomes JSON that matches the description."""
    raw = json.loads(path.read_text("utf-8"))
    api = 1 if path.stem.startswith("v1") else 2
    status = translated(raw) if api == 1 else raw
    readings = decode(status, api, CHANNELS).readings
    view = ChargerView("x", "h", PollStats(up=True), Snapshot("x", api, 1.0, 1.0, readings), 1.0)
    check(description, "Charger", json.dumps(json_api.as_json(view)).encode())
    history = History()
    history.take(Poll("x", "", 1.0, view.snapshot))
    answer = json_api.history_json(view, 60, history.timeline("x", 60, 5.0))
    check(description, "History", json.dumps(answer).encode())


def test_the_check_can_fail(description: dict[str, Any]) -> None:
    """The check fails for a wrong type and for an unknown property."""
    body = json.dumps({"error": 1}).encode()
    with pytest.raises(ValidationError):
        check(description, "Error", body)
    with pytest.raises(ValidationError):
        check(description, "Error", b'{"error": "x", "more": 1}')
