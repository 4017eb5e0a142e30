"""The paths of the web server: a prefix, another path of the metrics, and reverse proxies."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urljoin

import bcrypt
import pytest
from commands import Launch
from exporters import LISTEN, Exporter, charging
from servers import push_config
from sites import Site

from goe_exporter.charger.client import Client
from goe_exporter.errors import UsageError
from goe_exporter.polling.poller import Poller
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.sessions.settings import SessionSettings
from goe_exporter.simulator import Simulator
from goe_exporter.web.app import application
from goe_exporter.web.content import Content, SessionLog
from goe_exporter.web.history import History
from goe_exporter.web.paths import RESERVED, Paths, chosen

METRICS = "text/plain; version=0.0.4; charset=utf-8"


@pytest.fixture(scope="module")
def pollers() -> Iterator[list[Poller]]:
    """Yield two polled chargers."""
    with Simulator(clock=lambda: 1000.0) as simulator:
        found = []
        for name in ("garage", "Büro/oben"):
            box = simulator.add(charging())
            found.append(Poller(name, box.address, Client(box.address), 5.0))
            found[-1].poll()
        yield found


def site(pollers: list[Poller], paths: Paths) -> Site:
    """Return a site of the chargers at some paths."""
    return Site(lambda: [each.view() for each in pollers], paths=paths)


def links(page: str) -> set[str]:
    """Return the links of a page to its own site."""
    found = {unescape(link) for link in re.findall(r'(?:href|src|data-history)="([^"]*)"', page)}
    return {link for link in found if not link.startswith(("#", "https://"))}


def reached(site: Site, start: str) -> dict[str, int]:
    """Return the status of every path that the pages link to, from `start` on."""
    found: dict[str, int] = {}
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        answer = site.ask(path)
        found[path] = answer.status
        if answer.type.startswith("text/html"):
            waiting += [urljoin(path, link) for link in links(answer.body.decode())]
    return found


@pytest.mark.parametrize(
    ("external_url", "route_prefix", "prefix", "home"),
    [
        (None, None, "", "/"),
        ("https://example.org", None, "", "/"),
        ("https://example.org/goe", None, "/goe", "/goe/"),
        ("https://example.org/a/b.c", None, "/a/b.c", "/a/b.c/"),
        ("https://example.org/goe", "", "", "/goe/"),
        ("https://example.org/goe", "/in", "/in", "/goe/"),
        ("https://example.org", "/in", "/in", "/"),
        (None, "/in", "/in", "/in/"),
    ],
)
def test_prefix(external_url: str | None, route_prefix: str | None, prefix: str, home: str) -> None:
    """The prefix is the path of the external URL unless another one is given."""
    paths = chosen(external_url, route_prefix, None)
    assert (paths.prefix, paths.home) == (prefix, home)


@pytest.mark.parametrize(
    ("external_url", "route_prefix", "option"),
    [(None, "/-", "--web.route-prefix"), ("https://example.org/-", None, "--web.external-url")],
)
def test_prefix_of_the_health_checks(
    external_url: str | None, route_prefix: str | None, option: str
) -> None:
    """Below /- the health checks would hide metrics at /healthy."""
    with pytest.raises(UsageError, match=f"^{option}: the path must not be /-, "):
        chosen(external_url, route_prefix, "/healthy")


@pytest.mark.parametrize("prefix", ["", "/goe", "/a/b"])
def test_every_link_works_below_the_prefix(pollers: list[Poller], prefix: str) -> None:
    """Every page and every file that the page links to is below the prefix, and is there."""
    with site(pollers, Paths(prefix, "/own/metrics")) as here:
        found = reached(here, f"{prefix}/")
    assert set(found.values()) == {200}, found
    assert {path.partition("?")[0] for path in found} == {
        f"{prefix}/{path}"
        for path in (
            *("", "charger/garage", "charger/B%C3%BCro%2Foben", "own/metrics"),
            *("api/v1/chargers", "api/v1/openapi.json", "assets/style.css", "assets/icon.svg"),
            *("assets/live.js", "assets/chart.js", "assets/overview.js"),
            *("api/v1/chargers/garage/history", "api/v1/chargers/B%C3%BCro%2Foben/history"),
        )
    }


def test_another_path_of_the_metrics(pollers: list[Poller]) -> None:
    """The metrics are at the given path only, below the prefix."""
    with site(pollers, Paths("/goe", "/telemetry")) as here:
        answer = here.ask("/goe/telemetry")
        assert (answer.status, answer.type) == (200, METRICS)
        assert b'\ngoe_up{charger="garage"} 1' in answer.body
        for path in ("/telemetry", "/metrics", "/goe/metrics"):
            assert here.ask(path).status == 404, path


def test_a_page_that_does_not_exist(pollers: list[Poller]) -> None:
    """The page for an unknown charger links to what exists too."""
    with site(pollers, Paths("/goe")) as here:
        answer = here.ask("/goe/charger/nobody")
        assert answer.status == 404
        found = {urljoin("/goe/charger/nobody", each) for each in links(answer.body.decode())}
        assert {here.ask(path).status for path in found - {"/goe/charger/nobody"}} == {200}


@pytest.mark.parametrize(
    ("paths", "home"),
    [
        (Paths("/goe"), "/goe/"),
        (Paths("/goe", external_url="https://example.org/goe"), "/goe/"),
        (Paths("/goe", external_url="https://example.org/wallboxes"), "/wallboxes/"),
    ],
)
def test_redirects(pollers: list[Poller], paths: Paths, home: str) -> None:
    """`/` and the prefix without a slash lead to the page, on the host that the reader asked."""
    with site(pollers, paths) as here:
        for path in ("/", "/goe"):
            answer = here.ask(path)
            assert (answer.status, answer.headers["Location"]) == (302, home), path
        assert here.ask("/nowhere").status == 404


def test_a_prefix_that_a_proxy_adds(pollers: list[Poller]) -> None:
    """`/` does not redirect to itself if readers see no prefix."""
    with site(pollers, Paths("/goe", external_url="https://example.org")) as here:
        assert here.ask("/").status == 404
        assert here.ask("/goe/").status == 200


def test_without_a_prefix(pollers: list[Poller]) -> None:
    """Behind a proxy that removes the prefix, nothing is redirected."""
    with site(pollers, Paths("", external_url="https://example.org/goe")) as here:
        assert here.ask("/").status == 200
        assert here.ask("/goe").status == 404


@pytest.mark.parametrize("prefix", ["", "/goe"])
def test_health(pollers: list[Poller], prefix: str) -> None:
    """The health checks answer with and without the prefix, so that probes need not know it."""
    paths = Paths(prefix)
    assert paths.health == {"/-/healthy", "/-/ready", f"{prefix}/-/healthy", f"{prefix}/-/ready"}
    with site(pollers, paths) as here:
        for path in paths.health:
            assert here.ask(path).status == 200, path


@pytest.mark.parametrize(
    ("paths", "url"),
    [
        (Paths(), "/"),
        (Paths("/goe"), "/goe"),
        (Paths("", external_url="https://example.org/goe"), "https://example.org/goe"),
    ],
)
def test_the_server_of_the_description(pollers: list[Poller], paths: Paths, url: str) -> None:
    """The OpenAPI description says where the paths begin."""
    with site(pollers, paths) as here:
        description = json.loads(here.ask(f"{paths.prefix}/api/v1/openapi.json").body)
    assert description["servers"] == [{"url": url}]


def test_reserved_paths() -> None:
    """The metrics cannot be where the application serves something else."""
    sessions = SessionLog(SessionSettings, dict)
    content = Content(list, Exposition(list), History(), sessions=sessions)
    app = application(content, Paths(metrics="/mine"))
    for route in app.routes:
        path = getattr(route, "path", "")
        begin = f"/{path.split('/')[1]}"
        assert path in ("/", "/mine") or begin in RESERVED, path


# As processes


@pytest.mark.system
def test_serve_below_a_prefix(launch: Launch, tmp_path: Path) -> None:
    """`serve` logs the URL with the prefix; health is open below it and at the root."""
    web = tmp_path / "web.yaml"
    hashed = bcrypt.hashpw(b"p", bcrypt.gensalt(4)).decode()
    web.write_text(f"basic_auth_users: {{prometheus: {hashed}}}\n")
    exporter = Exporter(
        launch(
            *("serve", "garage=127.0.0.1:1", *LISTEN),
            *("--web.external-url=https://example.org/goe/", "--web.telemetry-path=/own"),
            *(f"--web.config.file={web}", "--web.open-health"),
        )
    )
    assert exporter.url == f"http://127.0.0.1:{exporter.port}/goe/"
    assert exporter.answer("-/healthy")[0] == 200
    assert exporter.answer("own")[0] == 401
    exporter.password = "prometheus:p"
    assert exporter.answer("own")[0] == 200
    assert exporter.answer("metrics")[0] == 404
    assert 'href="own"' in exporter.get("")
    exporter.url, exporter.password = f"http://127.0.0.1:{exporter.port}/", ""
    assert exporter.answer("-/healthy")[0] == 200
    assert exporter.answer("own")[0] == 401


@pytest.mark.system
def test_push_below_a_prefix(launch: Launch, tmp_path: Path) -> None:
    """The web server of `push` has the same options."""
    config = push_config(tmp_path, "http://127.0.0.1:1", {"garage": "127.0.0.1:1"})
    exporter = Exporter(
        launch(
            *("push", f"--config.file={config}", *LISTEN, "--log.format=json"),
            *("--web.external-url=https://example.org/goe", "--web.route-prefix=/"),
            "--web.telemetry-path=/own/metrics",
        )
    )
    assert exporter.url == f"http://127.0.0.1:{exporter.port}/"
    assert "goe_poll_failures_total" in exporter.get("own/metrics")
    assert exporter.answer("metrics")[0] == 404
