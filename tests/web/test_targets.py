"""`/probe`, `/sd` and `/metrics?chargers=none`: the chargers as Prometheus' targets."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import pytest
from commands import Launch
from exporters import LISTEN, Exporter
from exposed import FIXTURES, OPENMETRICS, down, view
from hostile import TEXTS
from paths import GOLDEN
from servers import PATIENCE_SECONDS, push_config, self_signed
from sites import Site

from goe_exporter.charger.client import Client
from goe_exporter.config.values import text_fault
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.simulator import Charger, Simulator
from goe_exporter.web.paths import Paths

TEXT = "text/plain; version=0.0.4; charset=utf-8"
NEW = ChargerView("new one", "192.0.2.1", PollStats(), None, None, labels={"site": "depot"})


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Yield a site of three chargers: one answers, one is down, one has not been polled yet."""
    views = [view("v2_pro_fault_firmware_60"), down("B/ö ro"), NEW]
    with Site(lambda: views) as running:
        yield running


# /probe


@pytest.mark.parametrize("fixture", FIXTURES)
def test_one_charger(fixture: str) -> None:
    """The response is the charger's part of `/metrics`, whatever others there are."""
    with Site(lambda: [NEW, view(fixture), down("other")]) as site:
        reply = site.ask("/probe?target=garage")
    assert (reply.status, reply.type) == (200, TEXT)
    assert reply.body == (GOLDEN / f"{fixture}.prom").read_bytes()
    assert reply.headers["Vary"] == "Accept, Accept-Encoding"


def test_a_charger_that_is_down(site: Site) -> None:
    """It has its poll statistics, as a success, so that `up` is about the exporter."""
    reply = site.ask("/probe?target=B%2F%C3%B6+ro")
    assert reply.status == 200
    lines = reply.body.decode().splitlines()
    assert 'goe_up{charger="B/ö ro"} 0.0' in lines
    assert all('charger="B/ö ro"' in line for line in lines if not line.startswith("#"))


def test_a_charger_that_has_not_been_polled(site: Site) -> None:
    """It has no `goe_up` yet, but its labels."""
    text = site.ask("/probe?target=new%20one").body.decode()
    assert "goe_up{" not in text
    assert 'goe_charger_info{charger="new one",site="depot"} 1.0\n' in text


def test_openmetrics(site: Site) -> None:
    """The format is chosen as on `/metrics`."""
    reply = site.ask("/probe?target=garage", Accept=OPENMETRICS)
    assert reply.type.startswith("application/openmetrics-text; version=1.0.0")
    assert reply.body.endswith(b"\n# EOF\n")


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("", 400, "target: must be given once, such as /probe?target=garage\n"),
        ("?target=", 400, "target: must be given once, such as /probe?target=garage\n"),
        ("?module=a", 400, "target: must be given once, such as /probe?target=garage\n"),
        (
            "?target=garage&target=garage",
            *(400, "target: must be given once, such as /probe?target=garage\n"),
        ),
        ("?target=192.0.2.7", 404, "no charger is named '192.0.2.7'\n"),
        ("?target=Garage", 404, "no charger is named 'Garage'\n"),
        ("?target=%FF%0A", 404, "no charger is named '\ufffd\\n'\n"),
    ],
)
def test_refusals(site: Site, query: str, status: int, text: str) -> None:
    """Only the name of a charger is a target; an address is none."""
    reply = site.ask(f"/probe{query}")
    assert (reply.status, reply.body.decode()) == (status, text)


@pytest.mark.parametrize("name", [text for text in TEXTS if not text_fault(text)])
def test_hostile_names(name: str) -> None:
    """A charger is found whatever its name is."""
    with Site(lambda: [view(FIXTURES[0], name)]) as site:
        (target,) = json.loads(site.ask("/sd").body)
        assert target["labels"]["__param_target"] == name
        assert site.ask(f"/probe?target={quote_plus(name)}").status == (200 if name else 400)


def test_a_probe_is_no_poll() -> None:
    """The charger gets no request, however often Prometheus asks."""
    with Simulator(clock=lambda: 1000.0) as simulator:
        box = simulator.add(Charger("V4"))
        poller = Poller("garage", box.address, Client(box.address), 5.0)
        poller.poll()
        polls = box.requests
        with Site(lambda: [poller.view()]) as site:
            for _ in range(20):
                assert site.ask("/probe?target=garage").status == 200
        assert box.requests == polls > 0


def test_a_renamed_charger(site: Site) -> None:
    """What was prepared for a charger is dropped with it."""
    views = [view(FIXTURES[0], "a")]
    with Site(lambda: views) as here:
        assert b'charger="a"' in here.ask("/probe?target=a").body
        views[:] = [view(FIXTURES[1], "b")]
        assert here.ask("/probe?target=a").status == 404
        assert here.ask("/metrics").body == here.ask("/probe?target=b").body
    assert site.ask("/probe?target=a").status == 404


# /metrics?chargers=none


def test_without_chargers(launch: Launch) -> None:
    """Only the exporter's own families remain, the same ones as on `/metrics`."""
    exporter = Exporter(launch("serve", "garage=127.0.0.1:1", *LISTEN))

    def families(path: str) -> set[str]:
        text = exporter.get(path)
        return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}

    own, whole = families("metrics?chargers=none"), families("metrics")
    assert "charger=" not in exporter.get("metrics?chargers=none")
    assert {"goe_exporter_build_info", "process_cpu_seconds_total"} <= own < whole
    assert whole - own >= {"goe_polls_total", "goe_poll_failures_total"}
    assert {name for name in whole - own if "exporter" in name or "config" in name} == set()


@pytest.mark.parametrize("query", ["all", "", "none&chargers=none", "None"])
def test_another_selection_is_refused(site: Site, query: str) -> None:
    """A misspelt parameter must not cause a scrape of all chargers."""
    reply = site.ask(f"/metrics?chargers={query}")
    assert (reply.status, reply.body) == (400, b"chargers: must be none, given once, or absent\n")


# /sd


def discovered(site: Site, **headers: str) -> Any:
    """Return the targets of a site."""
    reply = site.ask("/sd", **headers)
    assert (reply.status, reply.type) == (200, "application/json"), reply.body
    return json.loads(reply.body)


def test_targets(site: Site) -> None:
    """Each charger is a target, with what is known of its device."""
    common = {"__scheme__": "http", "__metrics_path__": "/probe"}
    address = [f"127.0.0.1:{site.port}"]
    assert discovered(site) == [
        {
            "targets": address,
            "labels": {
                **common,
                "__param_target": "garage",
                "__meta_goe_serial": "409012",
                "__meta_goe_model": "go-eCharger_Phoenix",
                "__meta_goe_firmware": "60.5",
            },
        },
        {"targets": address, "labels": {**common, "__param_target": "B/ö ro"}},
        {"targets": address, "labels": {**common, "__param_target": "new one"}},
    ]


def test_no_target() -> None:
    """Without chargers, as in an empty shard, the list is empty."""
    with Site(list) as site:
        assert discovered(site) == []


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("exporter.lan:10332", "exporter.lan:10332"),
        ("exporter_1.lan", "exporter_1.lan:80"),
        ("192.0.2.1:1", "192.0.2.1:1"),
        ("[fd00::1]:10332", "[fd00::1]:10332"),
        ("[fd00::1]", "[fd00::1]:80"),
    ],
)
def test_the_address_is_the_one_that_was_asked(site: Site, host: str, address: str) -> None:
    """The `Host` header is the address of the targets; a port is always given."""
    assert {target["targets"][0] for target in discovered(site, Host=host)} == {address}


@pytest.mark.parametrize(
    "host",
    [
        *("", "a/b", "a b", "a@b", "a,b", "ä", "-a", "a..b", "[::1", "[::::]", "[::1]x:1"),
        *("fd00::1", "a:b", "a:0", "a:65536", "a:123456", "a:80\x0b"),
    ],
)
def test_an_invalid_host(site: Site, host: str) -> None:
    """Nothing but a host and a port reaches Prometheus as an address."""
    with socket.create_connection(("127.0.0.1", site.port), PATIENCE_SECONDS) as connection:
        connection.sendall(f"GET /sd HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("paths", "scheme", "address", "path"),
    [
        (Paths("/goe"), "http", None, "/goe/probe"),
        (Paths("", external_url="https://x.org"), "https", "x.org:443", "/probe"),
        (Paths("/a/b", external_url="https://x.org/a/b"), "https", "x.org:443", "/a/b/probe"),
        (Paths("", external_url="http://x.org:8080/goe"), "http", "x.org:8080", "/goe/probe"),
        (Paths("", external_url="http://[fd00::1]"), "http", "[fd00::1]:80", "/probe"),
        (Paths("", external_url="http://-x.org"), "http", "-x.org:80", "/probe"),
    ],
)
def test_behind_a_proxy(paths: Paths, scheme: str, address: str | None, path: str) -> None:
    """With an external URL, the targets are below it, whatever `Host` is."""
    with Site(lambda: [down()], paths=paths) as site:
        address = address or f"127.0.0.1:{site.port}"
        reply = site.ask(f"{paths.prefix}/sd")
        assert json.loads(reply.body) == [
            {
                "targets": [address],
                "labels": {
                    "__scheme__": scheme,
                    "__metrics_path__": path,
                    "__param_target": "garage",
                },
            }
        ]
        assert site.ask(f"{paths.prefix}/probe?target=garage").status == 200


@pytest.mark.system
def test_with_tls(launch: Launch, tmp_path: Path) -> None:
    """With TLS, the scheme of the targets is https."""
    both = self_signed(tmp_path)
    web = tmp_path / "web.yaml"
    web.write_text(f"tls_server_config: {{cert_file: {both}, key_file: {both}}}\n")
    exporter = Exporter(launch("serve", "a=127.0.0.1:1", *LISTEN, f"--web.config.file={web}"))
    trusted = ssl.create_default_context(cafile=str(both))
    with urllib.request.urlopen(f"{exporter.url}sd", context=trusted) as response:
        (target,) = json.load(response)
    assert target["labels"]["__scheme__"] == "https"
    assert target["targets"] == [f"127.0.0.1:{exporter.port}"]


def test_an_agent_has_them_too(launch: Launch, tmp_path: Path) -> None:
    """`push` with a web server serves them, although it has no page."""
    config = push_config(tmp_path, "http://127.0.0.1:1", {"garage": "127.0.0.1:1"})
    agent = Exporter(launch("push", f"--config.file={config}", *LISTEN))
    (target,) = json.loads(agent.get("sd"))
    assert target["labels"]["__param_target"] == "garage"
    assert "goe_polls_total" in agent.get("probe?target=garage")
    assert agent.answer("probe?target=yard")[0] == 404
