"""Who may show the page in a frame, as a real Chromium decides."""

from __future__ import annotations

import contextlib
import http.server
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Self

import pytest
from browsers import Browser, chromium
from commands import Launch
from exporters import LISTEN, Exporter, charging
from servers import PATIENCE_SECONDS

from goe_exporter.simulator import Simulator

INGRESS = "/api/hassio_ingress/aBcD-1234_/"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Yield a Chromium."""
    with chromium(tmp_path_factory.mktemp("chromium")) as running:
        running.be()
        yield running


class Framing(http.server.ThreadingHTTPServer):
    """A site whose pages have a frame: `/` shows `target`, `/ingress` what is below `INGRESS`.

    Below `INGRESS` it passes requests on to `target`, and headers back, as Home Assistant does.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.target = ""

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Framing

    def do_GET(self) -> None:
        if self.path.startswith(INGRESS):
            self._pass_on(self.server.target + self.path.removeprefix(INGRESS))
            return
        source = INGRESS if self.path == "/ingress" else self.server.target
        body = f'<!doctype html><link rel=icon href=data:,><iframe src="{source}"></iframe>'
        self._answer(200, {"Content-Type": "text/html"}, body.encode())

    def _pass_on(self, url: str) -> None:
        asked = {"Accept-Language": self.headers["Accept-Language"]}
        request = urllib.request.Request(url, headers=asked)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
                self._answer(response.status, dict(response.headers), response.read())
        except urllib.error.HTTPError as error:
            with error:
                self._answer(error.code, dict(error.headers), error.read())

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("date", "server", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def sites() -> Iterator[tuple[Framing, Framing]]:
    """Yield two sites of different origins."""
    with Framing() as one, Framing() as other:
        yield one, other


@contextlib.contextmanager
def frame(browser: Browser) -> Iterator[None]:
    """Look into the frame of the page until the block ends."""
    browser.driver.switch_to.frame(0)
    try:
        yield
    finally:
        browser.driver.switch_to.default_content()


def is_shown(browser: Browser, page: str) -> bool:
    """Return whether the exporter's page is what the frame of a page shows."""
    browser.open(page)
    with frame(browser):
        browser.wait("document.readyState === 'complete'")
        if browser.run("location.protocol") == "chrome-error:":
            return False
        browser.wait_for_text(".state", "Charging")
        return True


def test_only_the_allowed_origin_may_frame_the_page(
    browser: Browser, launch: Launch, standing_still: Simulator, sites: tuple[Framing, Framing]
) -> None:
    """The page of `serve` appears in a frame of the allowed origin and of no other."""
    allowed, other = sites
    arguments = (*LISTEN, "--web.frame-ancestors", f"https://ha.example {allowed.url}")
    box = standing_still.add(charging())
    url = Exporter(launch("serve", f"garage={box.address}", *arguments)).url
    allowed.target = other.target = url
    assert is_shown(browser, allowed.url)
    assert browser.console() == []
    assert not is_shown(browser, other.url)
    assert "frame-ancestors" in " ".join(browser.console())
    assert not is_shown(browser, f"{other.url}/ingress")


def test_by_default_no_page_may_frame_it(
    browser: Browser, launch: Launch, standing_still: Simulator, sites: tuple[Framing, Framing]
) -> None:
    """Without the option no page can show it, not even one of its own origin."""
    site, _other = sites
    box = standing_still.add(charging())
    site.target = Exporter(launch("serve", f"garage={box.address}", *LISTEN)).url
    assert not is_shown(browser, site.url)
    assert not is_shown(browser, f"{site.url}/ingress")


def test_behind_ingress(
    browser: Browser, launch: Launch, simulator: Simulator, sites: tuple[Framing, Framing]
) -> None:
    """With `self`, a proxy can show the page below a path of its own, and the page goes on."""
    site, _other = sites
    box = simulator.add(charging())
    arguments = (f"garage={box.address}", "--refresh-interval", "1s", *LISTEN)
    site.target = Exporter(launch("serve", *arguments, GOE_EXPORTER_WEB_FRAME_ANCESTORS="self")).url
    browser.open(f"{site.url}/ingress")
    with frame(browser):
        browser.wait("document.readyState === 'complete'")
        browser.wait_for_text("h1", "garage")
        browser.wait("document.querySelectorAll('.chart:not([hidden]) path').length >= 1")
        first = browser.text("main")
        browser.wait(f"document.querySelector('main').innerText !== {first!r}", "new values")
    assert browser.console() == []
    assert not is_shown(browser, site.url)


def test_demo(launch: Launch) -> None:
    """The pages of `demo` can be shown in a frame too."""
    demo = Exporter(launch("demo", *LISTEN, "--web.frame-ancestors", "https://ha.example"))
    with urllib.request.urlopen(demo.url, timeout=PATIENCE_SECONDS) as response:
        policy = response.headers["Content-Security-Policy"]
    assert policy.endswith("; frame-ancestors https://ha.example")
