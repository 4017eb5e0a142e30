"""The web application: its routes, formats, health checks, and its cost for a charger."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from servers import PATIENCE_SECONDS, wait_for
from sites import Site

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger.client import Client
from goe_exporter.http_server.server import Server
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.simulator import Charger, Simulator
from goe_exporter.web.app import application
from goe_exporter.web.content import Content
from goe_exporter.web.history import History

PATHS = (
    *("/", "/metrics", "/api/v1/chargers", "/api/v1/influx", "/api/v1/openapi.json"),
    *("/-/healthy", "/-/ready", "/assets/style.css", "/sd"),
)
HISTORY = "/api/v1/chargers/garage/history"
CHARGER_PATHS = (*("/charger/garage", "/api/v1/chargers/garage", HISTORY, "/probe?target=garage"),)
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
HOSTILE = """<script>alert("1")</script>&'\\\n"""

STATUS = {
    "nrg": [230.5, 231, 229, 2, 16, 15.5, 0, 3680, 3580.5, 0, 0, 7260.5, 99, 98, 0, 0],
    "eto": 1234567,
    "dwo": None,
    "car": 2,
    "err": 0,
    "modelStatus": 15,
    "alw": True,
    "pnp": 2,
    "tma": [20.5, 25.125],
    "amp": 16,
    "fwv": "55.7",
    "fna": "garage",
    "c0e": 1000,
    "c2e": 0,
}
READINGS = {
    "phase_voltage": {"L1": 230.5, "L2": 231.0, "L3": 229.0, "N": 2.0},
    "phase_current": {"L1": 16.0, "L2": 15.5, "L3": 0.0},
    "phase_power": {"L1": 3680.0, "L2": 3580.5, "L3": 0.0, "N": 0.0},
    "phase_power_factor": {"L1": 0.99, "L2": 0.98, "L3": 0.0, "N": 0.0},
    "power": 7260.5,
    "energy": 1234567.0,
    "car_state": {"state": "charging", "code": 2},
    "error": {"state": "none", "code": 0},
    "charging_reason": {"state": "fallback_default", "code": 15},
    "charging_allowed": True,
    "phases": 2.0,
    "temperature": {"type2_port": 20.5, "board": 25.125},
    "max_current": 16.0,
    "firmware": "55.7",
    "device_name": "garage",
    "card_energy": {"1": 1000.0, "3": 0.0},
}


def view(name: str = "garage", *, up: bool | None = True, api: int = 2) -> ChargerView:
    """Return a charger as a sink sees it: charging, down since the start, or not polled yet."""
    if up is None:
        return ChargerView(name, "192.0.2.1", PollStats(), None, None)
    if not up:
        stats = PollStats(up=False, reason="timeout", polls=3, failures={"timeout": 3})
        return ChargerView(name, "192.0.2.1", stats, None, None)
    readings = decode(STATUS, api, CHANNELS).readings
    snapshot = Snapshot(name, api, 1_750_000_000.5, 100.0, readings)
    stats = PollStats(up=True, polls=3, last_success=1_750_000_000.5, last_duration=0.02)
    return ChargerView(name, "192.0.2.1", stats, snapshot, 1.25)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """Yield a server of one charger that charges and one that is down."""
    views = [view(), view("carport", up=False)]
    with Site(lambda: views) as running:
        yield running


# What is served


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/metrics", "text/plain; version="),
        ("/api/v1/chargers", "application/json"),
        ("/-/healthy", "text/plain; charset=utf-8"),
        ("/-/ready", "text/plain; charset=utf-8"),
    ],
)
def test_routes(site: Site, path: str, content_type: str) -> None:
    """Each route answers with its content type and length."""
    reply = site.ask(path)
    assert reply.status == 200
    assert reply.type.startswith(content_type)
    assert int(reply.headers["Content-Length"]) == len(reply.body) > 0


@pytest.mark.parametrize("path", [*PATHS, *CHARGER_PATHS])
def test_head(site: Site, path: str) -> None:
    """HEAD returns the headers of GET without a body."""
    head, got = site.ask(path, "HEAD"), site.ask(path)
    assert (head.status, head.body) == (200, b"")
    assert head.type == got.type
    assert int(head.headers["Content-Length"]) == pytest.approx(len(got.body), rel=0.05)


@pytest.mark.parametrize("path", [*PATHS, *CHARGER_PATHS])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "get"])
def test_everything_is_read_only(site: Site, path: str, method: str) -> None:
    """No other method is allowed on any path, and the response lists the allowed ones."""
    reply = site.ask(path, method)
    assert reply.status == 405
    assert set(reply.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("path", ["*", *PATHS, *CHARGER_PATHS])
def test_options(site: Site, path: str) -> None:
    """OPTIONS lists the methods of a path, and with `*` those of the server."""
    reply = site.ask(path, "OPTIONS")
    assert (reply.status, reply.body) == (204, b"")
    assert reply.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Content-Length"] is None


@pytest.mark.parametrize(
    "path",
    [
        "/metrics/",
        "/Metrics",
        "//metrics",
        "/metrics/x",
        "/api/v1/chargers/",
        "/api/set?amp=16",
        "/-/",
        "/-/healthy/",
        "/-/ready/",
        "/-/reload",
        "/../etc/passwd",
        "/%2e%2e/etc/passwd",
        "/favicon.ico",
        "/docs",
        "/openapi.json",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_other_paths_are_not_found(site: Site, path: str, method: str) -> None:
    """Any other path is 404: no redirects, no similar paths, no catch-all."""
    assert site.ask(path, method).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/charger/",
        "/charger/nobody",
        "/charger/garage/",
        "/api/v1/chargers/nobody",
        "/api/v1/chargers/nobody/history",
        "/api/v1/chargers/garage/history/",
        "/assets/",
        "/assets/base.html",
        "/assets/..%2Fweb.py",
    ],
)
def test_unknown_names(site: Site, path: str) -> None:
    """A charger or file that does not exist is 404."""
    assert site.ask(path).status == 404


def test_query_is_ignored(site: Site) -> None:
    """A query string, as some monitoring tools add it, changes nothing."""
    assert site.ask("/-/healthy?x=1").body == site.ask("/-/healthy").body


# Health


def test_ready_once_every_charger_was_polled() -> None:
    """Ready is 503 until each charger has been polled; failed polls count."""
    views = [view("one", up=None), view("two", up=None)]
    with Site(lambda: views) as site:
        first = site.ask("/-/ready")
        assert (first.status, first.body) == (503, b"2 not polled yet\n")
        views[0] = view("one")
        second = site.ask("/-/ready")
        assert (second.status, second.body) == (503, b"1 not polled yet\n")
        assert site.ask("/-/healthy").status == 200
        views[1] = view("two", up=False)
        third = site.ask("/-/ready")
        assert (third.status, third.body) == (200, b"ready\n")


# JSON


def test_json_of_a_charger(site: Site) -> None:
    """A charger's JSON: states with name and code, parts by name, no absent readings."""
    up, down = json.loads(site.ask("/api/v1/chargers").body)["chargers"]
    assert up == {
        "name": "garage",
        "host": "192.0.2.1",
        "up": True,
        "failure": None,
        "api": 2,
        "age_seconds": 1.25,
        "last_success_timestamp_seconds": 1_750_000_000.5,
        "readings": READINGS,
    }
    assert down == {
        "name": "carport",
        "host": "192.0.2.1",
        "up": False,
        "failure": "timeout",
        "api": None,
        "age_seconds": None,
        "last_success_timestamp_seconds": None,
        "readings": {},
    }


def test_json_of_a_charger_that_stopped_answering() -> None:
    """It keeps its API and what names it; it has no other readings."""
    status = {"sse": "218042", "typ": "go-eCharger_V4", "fwv": "56.9", "fna": "garage", "rev": 3}
    identity = decode(status, 2, CHANNELS).readings
    down = replace(view(up=False), identity=identity, api=2)
    with Site(lambda: [down]) as site:
        (charger,) = json.loads(site.ask("/api/v1/chargers").body)["chargers"]
    assert (charger["up"], charger["api"]) == (False, 2)
    assert charger["readings"] == {
        "serial": "218042",
        "model": "go-eCharger_V4",
        "firmware": "56.9",
        "device_name": "garage",
    }


def test_json_of_a_charger_that_was_not_polled_yet() -> None:
    """Before the first poll `up` is null."""
    with Site(lambda: [view(up=None)]) as site:
        (charger,) = json.loads(site.ask("/api/v1/chargers").body)["chargers"]
    assert charger["up"] is None
    assert charger["failure"] is None
    assert charger["readings"] == {}


def test_without_chargers() -> None:
    """Without chargers all routes work and the list is empty."""
    with Site(list) as site:
        assert json.loads(site.ask("/api/v1/chargers").body) == {"chargers": []}
        assert [site.ask(path).status for path in PATHS] == [200] * len(PATHS)


# Formats


@pytest.mark.parametrize("path", ["/metrics", "/api/v1/chargers", "/"])
def test_gzip_when_accepted(path: str) -> None:
    """A large response is compressed for clients that accept it, and only for those."""
    views = [view(f"garage {number}") for number in range(10)]
    with Site(lambda: views) as site:
        packed = site.ask(path, Accept_Encoding="deflate, gzip;q=0.9")
        plain = site.ask(path)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed.headers.get_all("Vary", [])[-1]
    assert plain.headers["Content-Encoding"] is None
    unpacked = gzip.decompress(packed.body)
    assert len(unpacked) == pytest.approx(len(plain.body), rel=0.05)
    assert len(packed.body) < len(unpacked)
    assert b"garage" in unpacked


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0, *", None),
        ("*;q=0", None),
        ("identity, gzip;q=0.5", None),
    ],
)
def test_weights_of_encodings(site: Site, accept_encoding: str, expected: str | None) -> None:
    """A client that prefers no compression gets none."""
    reply = site.ask("/metrics", Accept_Encoding=accept_encoding)
    assert reply.headers["Content-Encoding"] == expected
    assert reply.headers["Vary"] == "Accept, Accept-Encoding"


def test_small_page_is_not_compressed(site: Site) -> None:
    """A response of a few bytes is not compressed."""
    assert site.ask("/-/healthy", Accept_Encoding="gzip").headers["Content-Encoding"] is None


@pytest.mark.parametrize(
    ("accept", "open_metrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        (f"{OPEN_METRICS},text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
    ],
)
def test_metrics_format_by_accept(site: Site, accept: str, open_metrics: bool) -> None:
    """Clients that accept OpenMetrics get it; all others get the text format."""
    reply = site.ask("/metrics", Accept=accept)
    expected = "application/openmetrics-text" if open_metrics else "text/plain"
    assert reply.type.startswith(expected)
    assert reply.body.endswith(b"# EOF\n") is open_metrics
    assert b'goe_up{charger="garage"} 1.0\n' in reply.body
    assert b'goe_up{charger="carport"} 0.0\n' in reply.body


def test_headers_in_several_lines(site: Site) -> None:
    """A list header may be sent in several lines."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        connection.putrequest("GET", "/metrics", skip_accept_encoding=True)
        for line in ("text/plain;q=0.1", OPEN_METRICS):
            connection.putheader("Accept", line)
        for line in ("br", "gzip"):
            connection.putheader("Accept-Encoding", line)
        connection.endheaders()
        response = connection.getresponse()
        body = gzip.decompress(response.read())
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


# Hostile names


def test_hostile_name_is_escaped() -> None:
    """A name with markup is escaped in HTML, JSON and metrics."""
    with Site(lambda: [view(HOSTILE)]) as site:
        page = site.ask("/").body.decode()
        assert "<script>" not in page
        assert "&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt;&amp;&#39;" in page
        charger = json.loads(site.ask("/api/v1/chargers").body)["chargers"][0]
        assert charger["name"] == HOSTILE
        label = r'charger="<script>alert(\"1\")</script>&' + r"'\\\n" + '"'
        assert f"goe_up{{{label}}} 1.0\n" in site.ask("/metrics").body.decode()


# Concurrency


def test_silent_client_delays_nobody(site: Site) -> None:
    """A client that sends nothing, or half a request, delays no scrape."""
    place = ("127.0.0.1", site.port)
    with socket.create_connection(place), socket.create_connection(place) as half:
        half.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
        assert site.ask("/metrics").status == 200


class Held:
    """Views whose first caller waits for `release`; `calls` counts the callers."""

    def __init__(self) -> None:
        self.calls = 0
        self.begun = threading.Event()
        self.release = threading.Event()

    def __call__(self) -> list[ChargerView]:
        self.calls += 1
        if self.calls == 1:
            self.begun.set()
            assert self.release.wait(PATIENCE_SECONDS)
        return [view(), view("carport")]


def test_health_does_not_wait_for_a_rendering() -> None:
    """While a scrape is being rendered, health and readiness are answered."""
    held = Held()
    with Site(held) as site:
        scrape = threading.Thread(target=site.ask, args=("/metrics",))
        scrape.start()
        assert held.begun.wait(PATIENCE_SECONDS)
        assert site.ask("/-/healthy").status == 200
        assert site.ask("/-/ready").status == 200
        assert scrape.is_alive()
        held.release.set()
        scrape.join()


def test_a_rendering_does_not_delay_the_stop() -> None:
    """The server and the process end without waiting for a rendering in progress."""
    held, server = Held(), Server([("127.0.0.1", 0)])
    app = application(Content(held, Exposition(held), History()))
    serving = threading.Thread(target=server.run, args=(app,), daemon=True)
    serving.start()
    try:
        with socket.create_connection(("127.0.0.1", urlsplit(server.urls[0]).port)) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            assert held.begun.wait(PATIENCE_SECONDS)
            rendering = [each for each in threading.enumerate() if each.name == "render"]
            server.stop()
            serving.join(PATIENCE_SECONDS / 2)  # the rendering ends after all of it
        assert not serving.is_alive()
        assert [each.daemon for each in rendering] == [True]
    finally:
        held.release.set()


CROWD = 20


@pytest.mark.parametrize(
    "path", ["/metrics", "/", "/charger/garage", "/api/v1/chargers", "/api/v1/chargers/garage"]
)
def test_a_crowd_shares_one_rendering(path: str) -> None:
    """Clients that wait while a response is rendered share the next rendering."""
    held = Held()
    with Site(held) as site, ThreadPoolExecutor(1 + CROWD) as clients:
        first = clients.submit(site.ask, path)
        assert held.begun.wait(PATIENCE_SECONDS)
        crowd = [clients.submit(site.ask, path) for _ in range(CROWD)]
        wait_for(lambda: site.requests == 1 + CROWD, "requests that wait")
        held.release.set()
        replies = [each.result() for each in (first, *crowd)]
    assert held.calls == 2
    assert {each.status for each in replies} == {200}


@pytest.mark.parametrize(
    ("path", "one", "other"),
    [
        ("/metrics", {"Accept": OPEN_METRICS}, {"Accept": "text/plain"}),
        ("/", {"Accept-Language": "de"}, {"Accept-Language": "en"}),
        ("/charger/garage", {"Accept-Language": "de-AT"}, {"Accept-Language": "de-CH"}),
    ],
)
def test_each_client_of_a_crowd_gets_its_own(
    path: str, one: dict[str, str], other: dict[str, str]
) -> None:
    """Clients that wait together get the format and the language that they accept."""
    held = Held()
    with Site(held) as site, ThreadPoolExecutor(5) as clients:
        first = clients.submit(site.ask, path)
        assert held.begun.wait(PATIENCE_SECONDS)
        wanted = (one, other, one, other)
        crowd = [clients.submit(site.ask, path, **headers(each)) for each in wanted]
        wait_for(lambda: site.requests == 5, "requests that wait")
        held.release.set()
        first.result()
        replies = [each.result() for each in crowd]
    assert held.calls == 3
    for sent, reply in zip(wanted, replies, strict=True):
        language = sent.get("Accept-Language")
        assert reply.headers["Content-Language"] == language
        assert reply.type.startswith(sent.get("Accept", "text/html"))


def test_a_crowd_with_and_without_the_present_page() -> None:
    """Of clients that wait together, only those that have the present page get 304."""
    with Site(lambda: [view(), view("carport")]) as site:
        tag = site.ask("/").headers["ETag"]
    held = Held()
    with Site(held) as site, ThreadPoolExecutor(4) as clients:
        first = clients.submit(site.ask, "/")
        assert held.begun.wait(PATIENCE_SECONDS)
        tags = (tag, '"another"', tag)
        crowd = [clients.submit(site.ask, "/", If_None_Match=each) for each in tags]
        wait_for(lambda: site.requests == 4, "requests that wait")
        held.release.set()
        assert [each.result().status for each in (first, *crowd)] == [200, 304, 200, 304]


def headers(named: dict[str, str]) -> dict[str, str]:
    """Return headers as arguments of `Site.ask`."""
    return {name.replace("-", "_"): text for name, text in named.items()}


def test_healthy_names_the_stalled_component() -> None:
    """The health check fails while a component is stalled, and names the component."""
    stalled = [""]
    with Site(lambda: [view()], fault=lambda: stalled[0]) as site:
        assert site.ask("/-/healthy").status == 200
        stalled[0] = "stalled: polls"
        answer = site.ask("/-/healthy")
        assert (answer.status, answer.body) == (503, b"stalled: polls\n")
        stalled[0] = ""
        assert site.ask("/-/healthy").status == 200


def test_clients_cost_the_charger_nothing(simulator: Simulator) -> None:
    """With six parallel clients the charger gets one request per poll, one at a time."""
    box = simulator.add(Charger("V4"), latency=0.02)
    polled = Poller("garage", box.address, Client(box.address), 0.1)
    polling = Scheduler([polled])
    ended = threading.Event()
    scrapes: list[int] = []

    def scrape(site: Site, path: str) -> None:
        while not ended.is_set():
            scrapes.append(site.ask(path).status)

    with Site(lambda: [polled.view()]) as site:
        paths = ("/metrics", "/metrics", "/api/v1/chargers", "/charger/garage", "/", HISTORY)
        scrapers = [threading.Thread(target=scrape, args=(site, path)) for path in paths]
        started = time.monotonic()
        polling.start()
        for scraper in scrapers:
            scraper.start()
        wait_for(lambda: polled.view().stats.polls >= 8 and len(scrapes) > 50, "polls and scrapes")
        ended.set()
        for scraper in scrapers:
            scraper.join()
        polling.stop(2)
        seconds = time.monotonic() - started
    assert set(scrapes) == {200}
    stats = polled.view().stats
    assert box.requests == stats.polls
    assert stats.polls <= seconds / 0.1 + 1
    assert stats.failures == {}
    assert box.max_concurrent == 1
