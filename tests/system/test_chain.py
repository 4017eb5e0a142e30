"""The whole chain: every output has the same numbers for any state of a charger.

A simulated charger responds over its socket; the real client, poller, web server, push agent and
command line produce seven outputs, and a parser that shares no code with them reads each one back
by the channel table. The expected numbers are typed here by hand for a sample of rows, from
docs/protocol.md §2 and the charger's whole status.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner
from examples import examples
from fake_influx import FakeInflux
from hypothesis import example, given, settings
from hypothesis import strategies as st
from line_parser import parsed
from paths import ROOT
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as text_families
from servers import PATIENCE_SECONDS, wait_for
from sites import ask

from goe_exporter.channels.model import Channel, Kind
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger.client import Client
from goe_exporter.cli import main
from goe_exporter.http_server import server
from goe_exporter.influx.agent import Agent
from goe_exporter.influx.write_api import Access, ServerV2
from goe_exporter.polling.poller import Poller
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.simulator import Box, Charger, Simulator
from goe_exporter.simulator.responses import Response
from goe_exporter.web.app import application
from goe_exporter.web.content import Content
from goe_exporter.web.history import History

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
STATES = (Kind.STATE, Kind.REASON)
NAMES = ("garage", "Straße 🚗", 'say "hi"', "a,b c", "two\nlines", "back\\slash", '"} 1')
FIRMWARES = ("041.0", "033", "050.1", "051.4", "055.7", "56.9", "59.4", "60.5", "020-rc1", "")
"""Old and new forms of the filter, of the error's numbering and of the cards' energies."""

TEXTS = st.text(max_size=12) | st.sampled_from(
    [*("", "my charger", "Größe 🔌", 'quote " \\', "two\nlines", "nul\0nul", "\ud83d", "é" * 600)]
)

SHORT_TEXTS = st.sampled_from(["", "V2.1", "Größe 🔌", 'quote " \\'])
"""Texts that are decoded unchanged."""

Value = float | bool | str
Place = tuple[str, str]
"""A channel's name and its part's label; of a state's number, `code`."""

Found = dict[Place, Value]


# States


def _numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high) | st.sampled_from([low, high, 0.0]).filter(lambda n: low <= n)


def _list_of(low: float, high: float, count: int) -> st.SearchStrategy[list[float]]:
    return st.lists(_numbers(low, high), min_size=count, max_size=count)


def _whole(low: int, high: int, *others: int | None) -> st.SearchStrategy[int | None]:
    whole = st.integers(low, high)
    return whole | st.sampled_from(others) if others else whole


ATTRIBUTES: dict[str, st.SearchStrategy[Any]] = {
    "serial": st.sampled_from(["000000", "123456", "00-ü"]),
    "name": TEXTS,
    "revision": SHORT_TEXTS,
    "style": SHORT_TEXTS,
    "amp": _whole(6, 32),
    "amx": _whole(6, 32, 0),
    "ama": st.sampled_from([16, 32]),
    "access": _whole(0, 3, 9),
    "force": _whole(0, 2, 7),
    "phase_mode": _whole(0, 2),
    "energy_limit_wh": st.none() | _numbers(0, 1e6),
    "limit_memory": _whole(0, 65_535),
    "transaction": _whole(0, 10, None),
    "logic_mode": _whole(3, 5, 11),
    "lock_setting": _whole(0, 2),
    "price_limit_ct": _numbers(-50, 400),
    "use_surplus": st.booleans(),
    "adapter": st.booleans(),
    "load_limit_a": _whole(0, 32, None),
    "reboots": _whole(0, 10**9),
    "error": _whole(0, 24, 250),
    "car_state": _whole(0, 6, 77),
    "cable_a": _whole(13, 32, None, 0),
    "model_status": _whole(0, 41, 200),
    "allowed_a": _whole(0, 32, None),
    "temperature_limit_a": _whole(0, 32),
    "contactor_phases": _whole(0, 3),
    "last_phases": _whole(0, 3),
    # Beyond these, readings are absent: what physics excludes, and what was never measured.
    "phase_voltage_v": _list_of(0, 500, 4).filter(lambda volts: any(map(round, volts[:3]))),
    "phase_current_a": st.lists(st.just(0.0) | st.floats(7, 50), min_size=3, max_size=3),
    "phase_power_w": _list_of(-15_000, 15_000, 4),
    "power_factor": _list_of(-1, 1, 4),
    "power_w": _numbers(-45_000, 45_000),
    "frequency_hz": _numbers(45, 65) | st.just(0.0),
    "energy_wh": _numbers(0, 1e9),
    "session_wh": _numbers(-0.0015, 1e6),
    "card_wh": _list_of(0, 1e8, 10),
    "board_c": _numbers(-40, 110),
    "type2_c": _numbers(-40, 110),
    "source_wh": st.lists(_numbers(0, 1e6), min_size=4, max_size=4).map(
        lambda energies: dict(zip(("solar", "grid", "battery", "other"), energies, strict=True))
    ),
    "left_idle_ms": st.none() | _numbers(0, 1e3),
    "_booted_s": _numbers(-1e8, -1),
}
"""Every attribute of a charger that is a part of a status."""

SURPLUS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["pGrid", "pPv", "pAkku"], _numbers(-1e6, 1e6))
)

WITNESSES = {"car", "nrg", "eto", "amp"}
"""A status without any of them is not that of a charger (docs/protocol.md §5.2)."""

MISSING = st.sets(
    st.sampled_from(
        "car amp err nrg eto wh dws dwo stp alw pha pnp cbl acu ama amt tma tmp fwv fna sse typ var"
        " frc psm cus trx uby loa loe acs ast lmo awp fup rbc rbt rssi fhz tpa modelStatus cards"
        " c0e eca ecr adi amx".split()
    ),
    max_size=8,
)
EDITS: dict[str, st.SearchStrategy[Any]] = {
    "nrg": st.sampled_from([15, 12, 5, 0]),
    "tma": st.sampled_from([1, 0]),
    "pha": st.sampled_from([3]),
}
"""Arrays that some firmware cuts short (docs/protocol.md §3), to this length."""


class State(NamedTuple):
    """A charger's state, and the keys of its status that are missing, null or truncated."""

    model: str
    firmware: str
    variant: int
    attributes: Mapping[str, Any]
    missing: frozenset[str]
    null: frozenset[str]
    lengths: Mapping[str, int]
    api: Literal["auto", "1", "2"]
    name: str


@st.composite
def states(draw: st.DrawFn) -> State:
    model = draw(st.sampled_from(["V2", "V3", "V4", "PRO"]))
    return State(
        model,
        draw(st.sampled_from(FIRMWARES)),
        draw(st.sampled_from([11, 22])),
        draw(
            st.fixed_dictionaries({"pv_w": SURPLUS, "pv_until_s": st.just(1)}, optional=ATTRIBUTES)
        ),
        draw(MISSING.filter(lambda keys: not keys >= WITNESSES).map(frozenset)),
        draw(MISSING.map(frozenset)),
        draw(st.fixed_dictionaries({}, optional=EDITS)),
        draw(st.sampled_from(["auto", "1"] if model == "V2" else ["auto", "1", "2"])),
        draw(st.sampled_from(NAMES)),
    )


def charger_of(state: State) -> Charger:
    """Return a charger in a state; it does not change, since its time is frozen."""
    charger = Charger(state.model, state.firmware, variant=state.variant)
    for name, value in state.attributes.items():
        setattr(charger, name, value)
    return charger


class Edited:
    """Edits the responses of a box according to a state."""

    def __init__(self, box: Box) -> None:
        self.state: State | None = None
        self._respond = box.respond
        box.respond = self.respond  # type: ignore[method-assign]

    def respond(self, method: str, target: str) -> Response:
        response = self._respond(method, target)
        if self.state is None or response.content_type != "application/json":
            return response
        status = json.loads(response.body)
        for key in self.state.missing & status.keys():
            del status[key]
        for key in self.state.null & status.keys():
            status[key] = None
        for key, length in self.state.lengths.items():
            if isinstance(status.get(key), list):
                del status[key][length:]
        return Response(response.status, json.dumps(status).encode(), response.content_type)


# The parts


class Recorded(server._Uvicorn):
    """The web server's internals, so that the test can stop it."""

    made: list[Recorded] = []  # noqa: RUF012, one list for all

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.made.append(self)


class Chain:
    """A charger's address and all outputs for it."""

    def __init__(self, box: Box, port: int, agent: Agent, influx: FakeInflux) -> None:
        self.box = box
        self.edited = Edited(box)
        self.port = port
        self.agent = agent
        self.influx = influx
        self.pollers: list[Poller] = []

    def become(self, state: State) -> None:
        """Put the charger into a state, and poll it until the snapshot is complete."""
        self.box.charger = charger_of(state)
        self.edited.state = state
        client = Client(self.box.address, state.api)
        poller = Poller(state.name, self.box.address, client, 60.0, sink=self.agent.take)
        while not poller.complete:
            poller.poll()
            assert poller.view().stats.up, poller.view().stats.message
        self.pollers[:] = [poller]

    def whole_status(self, api: int) -> dict[str, Any]:
        """Return the response to the test's own request."""
        path = "/status" if api == 1 else "/api/status"
        try:
            with urllib.request.urlopen(
                f"http://{self.box.address}{path}", timeout=PATIENCE_SECONDS
            ) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:  # as PRO responds
            body = error.read()
        status = json.loads(body)
        assert isinstance(status, dict)
        return status

    def served(self, path: str, **headers: str) -> str:
        """Return a response of the web server."""
        reply = ask(self.port, path, **headers)
        assert reply.status == 200
        return reply.body.decode()

    def delivered(self) -> str:
        """Return the last line that the InfluxDB server received, after delivering all."""
        self.influx.taken.clear()
        while self.agent.sender.deliver_once() is not None:
            pass
        return self.influx.taken[-1].decode()

    def read(self, output: str, state: State) -> str:
        """Return the output of `goe-exporter read`, run in this process."""
        environment = {"COLUMNS": "4000"}
        arguments = ["read", self.source(state), "--api", state.api, "--format", output]
        result = CliRunner().invoke(main.command, arguments, env=environment)
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout

    def source(self, state: State) -> str:
        """Return the charger as the argument of `read`."""
        return f"{state.name}={self.box.address}"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """Yield a chain with a frozen charger; all examples share it."""
    patch = pytest.MonkeyPatch()
    patch.setattr(server, "_Uvicorn", Recorded)
    web = server.Server([("127.0.0.1", 0)])
    with Simulator(clock=lambda: 0.0) as simulator, FakeInflux() as influx:
        writes = ServerV2(influx.url, "", "goe", "", Access(10.0))
        agent = Agent(tmp_path_factory.mktemp("spool"), 2**24, writes, {}, 5000)
        port = urlsplit(web.urls[0]).port
        built = Chain(simulator.add(Charger()), port, agent, influx)
        exposition = Exposition(lambda: _views(built))
        app = application(Content(lambda: _views(built), exposition, History()))
        thread = threading.Thread(target=web.run, args=(app,))
        thread.start()
        wait_for(lambda: bool(Recorded.made) and Recorded.made[-1].started, "the web server")
        yield built
        Recorded.made[-1].should_exit = True
        thread.join()
        agent.stop(PATIENCE_SECONDS)
    patch.undo()


def _views(chain: Chain) -> list[Any]:
    return [poller.view() for poller in chain.pollers]


# Each output read back


def from_families(families: Iterable[Metric]) -> Found:
    """Read an exposition back; base units are converted to the table's."""
    samples = [sample for family in families for sample in family.samples]
    found: Found = {}
    for channel in CHANNELS:
        mine = [sample for sample in samples if sample.name == channel.sample]
        if channel.kind is Kind.TEXT:
            for sample in mine:
                if text := sample.labels[channel.label]:
                    found[channel.name, ""] = text
            continue
        if channel.kind in STATES:
            present = [sample.labels[channel.label] for sample in mine if sample.value == 1]
            assert len(present) == (1 if mine else 0)
            found.update(((channel.name, ""), word) for word in present)
            mine = [sample for sample in samples if sample.name == f"goe_{channel.name}_code"]
            found.update(((channel.name, "code"), sample.value) for sample in mine)
            continue
        for sample in mine:
            label = sample.labels[channel.label] if channel.label else ""
            assert (channel.name, label) not in found
            found[channel.name, label] = _in_base_units(channel, sample.value)
    return found


class Joules(float):
    """An energy in joules that equals the same energy in watt-hours."""

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Joules):
            return float(self) == float(other)
        return isinstance(other, int | float) and other * 3600.0 == float(self)

    def __hash__(self) -> int:
        return hash(float(self))


def _in_base_units(channel: Channel, value: float) -> Value:
    if channel.kind is Kind.FLAG:
        assert value in (0, 1)
        return value == 1
    return Joules(value) if channel.unit.symbol == "Wh" else value


def from_json(charger: Mapping[str, Any]) -> Found:
    """Read a charger of the JSON API back."""
    found: Found = {}
    kinds = {channel.name: channel for channel in CHANNELS}
    for name, value in charger["readings"].items():
        if kinds[name].kind in STATES:
            found[name, ""], found[name, "code"] = value["state"], float(value["code"])
        elif isinstance(value, dict):
            found.update(((name, label), part) for label, part in value.items())
        else:
            found[name, ""] = value
    return found


def from_line(line: str) -> Found:
    """Read a line of line protocol back; the serial is one of its tags."""
    point = parsed(line)
    fields = dict(point.fields)
    assert fields.pop("up") is True
    fields.pop("charger_name", None)
    found: Found = {}
    if "serial" in point.tags:
        found["serial", ""] = point.tags["serial"]
    for channel in CHANNELS:
        for part in channel.parts:
            label = part.label if channel.label and channel.kind not in STATES else ""
            name = channel.name if channel.kind is Kind.TEXT else channel.field(label)
            if name in fields:
                found[channel.name, label] = fields.pop(name)
            if channel.kind in STATES and f"{name}_code" in fields:
                found[channel.name, "code"] = fields.pop(f"{name}_code")
    assert fields == {}
    return found


def from_table(table: str) -> Found:
    """Read the table of `read` back, by the columns of its header."""
    title, rest = table.split("API v", 1)
    assert title
    _api, head, _rule, *rows = rest.splitlines()
    reading, unit = head.index("reading"), head.rindex("unit")
    found: Found = {}
    for row in rows:
        name = row[:reading].strip().replace("-", "_")
        channel = next(each for each in CHANNELS if each.name == name)
        if channel.kind is Kind.TEXT:
            continue  # wide characters move the columns
        for part in row[reading:unit].strip().split("  "):
            *label, word = part.split(" ")
            if channel.kind in STATES:
                found[name, ""], found[name, "code"] = label[0], float(word.strip("()"))
            elif channel.kind is Kind.FLAG:
                found[name, "".join(label)] = {"yes": True, "no": False}[word]
            else:
                found[name, "".join(label).rstrip(":")] = float(word)
    return found


# Expected readings of each output


def untimed(found: Found) -> Found:
    """Return readings without the time of plug-in, which depends on when each poll arrived."""
    return {place: value for place, value in found.items() if place[0] != "plug_in_timestamp"}


def in_line(found: Found) -> Found:
    """Return readings as a line holds them: without line breaks and NULs."""
    return {
        place: value.replace("\0", " ").replace("\n", "\\n") if isinstance(value, str) else value
        for place, value in found.items()
    }


def without_info(found: Found) -> Found:
    """Return readings without those that are labels of `goe_device_info` only."""
    info_only = {channel.name for channel in CHANNELS if channel.info_only}
    return {place: value for place, value in found.items() if place[0] not in info_only}


DECIMALS = {"V": 1, "A": 2, "W": 1, "Wh": 1, "°C": 1, "Hz": 2, "ct": 2, "": 2}
"""The decimals in the table of `read`, by unit; the power factor has no unit."""


def in_table(found: Found) -> Found:
    """Return readings as the table shows them: rounded for people, without texts."""
    units = {channel.name: channel.unit.symbol for channel in CHANNELS}
    texts = {channel.name for channel in CHANNELS if channel.kind is Kind.TEXT}
    return {
        place: value
        if isinstance(value, str | bool)
        else float(f"{value:.{DECIMALS.get(units[place[0]], 0)}f}")
        for place, value in found.items()
        if place[0] not in texts
    }


def check(chain: Chain, state: State) -> Found:
    """Put the charger into a state and compare all outputs; return their readings."""
    chain.become(state)
    charger = json.loads(chain.served("/api/v1/chargers"))["chargers"][0]
    assert charger["name"] == state.name
    found = from_json(charger)
    text = chain.served("/metrics")
    metrics = from_families(text_families(text))
    assert without_info(metrics) == found
    open_metrics = chain.served("/metrics", Accept=OPEN_METRICS)
    assert open_metrics.endswith("# EOF\n")
    assert from_families(openmetrics_families(open_metrics)) == metrics
    assert from_line(chain.delivered()) == in_line(found)
    # The command polls again.
    assert untimed(from_json(json.loads(chain.read("json", state)))) == untimed(found)
    assert untimed(from_families(text_families(chain.read("prometheus", state)))) == untimed(
        metrics
    )
    assert untimed(from_line(chain.read("influx", state)[:-1])) == untimed(in_line(found))
    assert untimed(from_table(chain.read("table", state))) == untimed(in_table(found))
    return metrics | found


# Expectations, by hand


def _element(status: Mapping[str, Any], key: str, index: int) -> Any:
    values = status.get(key)
    return values[index] if isinstance(values, list) and index < len(values) else None


def _scaled(value: Any, factor: float, divisor: float = 1) -> float | None:
    return None if value is None else float(value) * factor / divisor


def expected_v1(status: Mapping[str, Any]) -> dict[Place, Any]:
    """Return a sample of rows by the second column of docs/protocol.md §2."""
    limited = str(status.get("stp")) == "2"
    bits = status.get("pha")
    return {
        ("phase_voltage", "L1"): _element(status, "nrg", 0),
        ("phase_voltage", "N"): _element(status, "nrg", 3),
        ("phase_current", "L1"): _scaled(_element(status, "nrg", 4), 1, 10),
        ("phase_current", "L3"): _scaled(_element(status, "nrg", 6), 1, 10),
        ("phase_power", "L2"): _scaled(_element(status, "nrg", 8), 100),
        ("power", ""): _scaled(_element(status, "nrg", 11), 10),
        ("phase_power_factor", "L3"): _scaled(_element(status, "nrg", 14), 1, 100),
        ("session_energy_limit", ""): _scaled(status.get("dwo"), 100) if limited else None,
        ("session_energy", ""): _scaled(status.get("dws"), 10, 3600),
        ("energy", ""): _scaled(status.get("eto"), 100),
        ("card_energy", "1"): _scaled(status.get("eca"), 100),
        ("card_energy", "10"): _scaled(status.get("ec1"), 100),
        ("charging_allowed", ""): {"0": False, "1": True, None: None}[status.get("alw")],
        ("cable_current", ""): float(status.get("cbl") or 0) or None,
        ("phases", ""): None if bits is None else float((int(bits) & 7).bit_count()),
        ("max_current", ""): _scaled(status.get("amp"), 1),
        ("uptime", ""): _scaled(status.get("rbt"), 1, 1000),
        ("car_state", "code"): _scaled(status.get("car"), 1),
        ("access", "code"): _scaled(status.get("ast"), 1),
        ("error", "code"): _scaled(status.get("err"), 1),
    }


def expected_v2(status: Mapping[str, Any]) -> dict[Place, Any]:
    """Return a sample of rows by the third column of docs/protocol.md §2."""
    phases = status.get("pha")
    counted = phases and phases[:3].count(True)
    card = status.get("c0e")
    if card is None and status.get("cards") is not None:
        card = status["cards"][0]["energy"]
    return {
        ("phase_voltage", "L1"): _element(status, "nrg", 0),
        ("phase_current", "L1"): _element(status, "nrg", 4),
        ("phase_current", "L3"): _element(status, "nrg", 6),
        ("phase_power", "N"): _element(status, "nrg", 10),
        ("power", ""): _element(status, "nrg", 11),
        ("phase_power_factor", "L2"): _scaled(_element(status, "nrg", 13), 1, 100),
        ("power_average", ""): status.get("tpa"),
        ("grid_frequency", ""): status.get("fhz") or None,
        ("session_energy_limit", ""): status.get("dwo"),
        ("session_energy", ""): status.get("wh"),
        ("energy", ""): status.get("eto"),
        ("card_energy", "1"): card,
        ("charging_allowed", ""): status.get("alw"),
        ("cable_current", ""): status.get("cbl"),
        ("allowed_current", ""): status.get("acu"),
        ("transaction", ""): status.get("trx"),
        ("phases", ""): counted if status.get("pnp") is None else status["pnp"],
        ("session_source_energy", "solar"): status.get("whs"),
        ("session_source_energy", "other"): status.get("who"),
        ("mid_energy", ""): status.get("eto_mid"),
        ("mid_session_energy", ""): status.get("wh_mid"),
        ("meter_certification", "code"): status.get("cert"),
        ("current_limit", "maximum"): (status.get("cll") or {}).get("currentLimitMax"),
        ("current_limit", "unbalanced"): (status.get("cll") or {}).get("unsymetryCurrentLimit"),
        ("phase_contactor_closed", "L1"): _element(status, "pha", 0),
        ("phase_energized", "L3"): _element(status, "pha", 5),
        ("max_current", ""): status.get("amp"),
        ("temperature", "type2_port"): _element(status, "tma", 0),
        ("temperature", "board"): _element(status, "tma", 1),
        ("uptime", ""): _scaled(status.get("rbt"), 1, 1000),
        ("reboots", ""): status.get("rbc"),
        ("pv_grid_power", ""): status.get("pgrid"),
        ("awattar_max_price", ""): status.get("awp"),
        ("car_state", "code"): status.get("car"),
        ("force_state", "code"): status.get("frc"),
        ("charging_reason", "code"): status.get("modelStatus"),
        ("revision", ""): status.get("rev") or None,
        ("style", ""): status.get("styp") or None,
    }


# Tests


def test_all_outputs_agree(chain: Chain) -> None:
    """All seven outputs agree for any state, and with the protocol."""
    seen: set[str] = set()

    @settings(examples(50), derandomize=True)
    @example(state=WITH_ALL_READINGS)
    @example(state=WITH_ALL_READINGS._replace(api="1"))
    @example(state=WITH_ALL_READINGS._replace(model="PRO"))
    @given(state=states())
    def agree(state: State) -> None:
        found = check(chain, state)
        seen.update(name for name, _label in found)
        api = json.loads(chain.served("/api/v1/chargers"))["chargers"][0]["api"]
        status = chain.whole_status(api)
        expected = expected_v1(status) if api == 1 else expected_v2(status)
        assert {place: found.get(place) for place in expected} == expected

    agree()
    assert seen == {channel.name for channel in CHANNELS}


WITH_ALL_READINGS = State(
    "V4",
    "60.5",
    22,
    {
        "pv_w": {"pGrid": 1.0, "pPv": 2.0, "pAkku": 3.0},
        "pv_until_s": 1,
        "energy_limit_wh": 3500.0,
        "transaction": 1,
        "load_limit_a": 16,
        "cable_a": 20,
        "allowed_a": 16,
        "frequency_hz": 50.0,
        "left_idle_ms": 0.0,
    },
    frozenset(),
    frozenset(),
    {},
    "2",
    "garage",
)
"""Random states, which depend on the imported modules, may leave a channel out."""

BY_HAND = State(
    "V4",
    "60.5",
    22,
    {
        "serial": "123456",
        "name": 'Jan\'s "box"',
        "amp": 20,
        "phase_voltage_v": [230.5, 0.0, 231.25, 2.0],
        "phase_current_a": [15.875, 0.0, 0.05],
        "phase_power_w": [3600.0, 0.0, -4.25, 0.0],
        "power_factor": [0.98, 0.0, 1.0, 0.0],
        "power_w": 3596.25,
        "energy_wh": 1_234_567.0,
        "session_wh": -0.0015,
        "energy_limit_wh": 3500.0,
        "error": 12,
        "cable_a": None,
        "frequency_hz": 0.0,
        "board_c": 41.3,
        "_booted_s": -90.0,
    },
    frozenset(),
    frozenset({"acu"}),
    {},
    "auto",
    "garage",
)
READINGS = {
    ("phase_voltage", "L1"): 230.5,
    ("phase_voltage", "L2"): 0.0,
    ("phase_current", "L1"): 15.875,
    ("phase_current", "L3"): 0.05,
    ("phase_power", "L3"): -4.25,
    ("phase_power_factor", "L1"): 0.98,
    ("power", ""): 3596.25,
    ("energy", ""): 1_234_567.0,
    ("session_energy", ""): -0.0015,
    ("session_energy_limit", ""): 3500.0,
    ("error", ""): "lock_stuck_open",
    ("error", "code"): 12.0,
    ("cable_current", ""): None,
    ("allowed_current", ""): None,
    ("grid_frequency", ""): None,
    ("temperature", "board"): 41.25,
    ("max_current", ""): 20.0,
    ("uptime", ""): 90.0,
    ("device_name", ""): 'Jan\'s "box"',
}
BY_HAND_ON_V1 = {
    ("phase_voltage", "L3"): 231.25,
    ("phase_current", "L1"): 15.875,
    ("phase_power", "L1"): 3600.0,
    ("power", ""): 3596.2,
    ("energy", ""): 1_234_500.0,
    ("session_energy", ""): 0.0,
    ("session_energy_limit", ""): 3500.0,
    ("error", ""): "internal",
    ("error", "code"): 12.0,
    ("cable_current", ""): None,
    ("power_average", ""): None,
    ("temperature", "board"): 41.25,
}
"""The same charger in API v1's steps: 0.01 of its tenths and hundreds, whole 0.1 kWh."""


def test_a_charger_by_hand(chain: Chain) -> None:
    """All outputs show a charger whose readings are typed here, in their units."""
    found = check(chain, BY_HAND)
    assert {place: found.get(place) for place in READINGS} == READINGS
    lines = chain.served("/metrics").splitlines()
    assert 'goe_energy_joules_total{charger="garage"} 4.4444412e+09' in lines
    assert 'goe_session_energy_joules{charger="garage"} -5.4' in lines
    assert 'goe_session_energy_limit_joules{charger="garage"} 1.26e+07' in lines
    fields = parsed(chain.influx.taken[-1].decode()).fields
    assert (fields["energy_wh"], fields["session_energy_wh"]) == (1_234_567.0, -0.0015)


def test_a_charger_by_hand_on_v1(chain: Chain) -> None:
    """The same charger through API v1."""
    found = check(chain, BY_HAND._replace(api="1"))
    assert {place: found.get(place) for place in BY_HAND_ON_V1} == BY_HAND_ON_V1


@pytest.mark.parametrize("output", ["json", "prometheus", "influx", "table"])
def test_read_as_a_process(chain: Chain, output: str) -> None:
    """The command as a process prints the same as in this process."""
    state = BY_HAND._replace(name="Straße 🚗")
    chain.become(state)
    arguments = ["read", chain.source(state), "--format", output]
    printed = subprocess.run(
        [sys.executable, "-m", "goe_exporter.cli", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "4000", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    read_back = {
        "json": lambda text: from_json(json.loads(text)),
        "prometheus": lambda text: from_families(text_families(text)),
        "influx": lambda text: from_line(text[:-1]),
        "table": from_table,
    }[output]
    found = read_back(printed)
    assert found == read_back(chain.read(output, state))
    assert len(found) > 60
