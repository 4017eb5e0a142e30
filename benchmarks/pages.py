"""Fifty open pages for two minutes: requests to the charger, time of a scrape, and memory.

Once with HTTP clients that send the requests of the page's script, and once with windows of a real
Chromium.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from goe_exporter.simulator import Car, Charger, Simulator

PAGES = 50
SECONDS = 120
SETTLING_SECONDS = 20
INTERVAL_SECONDS = 5
SCRAPES = 100
PORT = 18_333
PAGE = f"http://127.0.0.1:{PORT}/"
HISTORY = f"{PAGE}api/v1/chargers/garage/history?minutes="
CHROMIUM = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
)


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    for kind, pages in (("HTTP clients", _clients), ("Chromium windows", _windows)):
        with Simulator() as simulator, _exporter(simulator) as exporter:
            yield from _measure(f"{PAGES} {kind} for {SECONDS} s", pages, exporter)


class _Exporter:
    """A running exporter, and the number of requests to its charger."""

    def __init__(self, pid: int, requests: Callable[[], int]) -> None:
        self.pid = pid
        self.requests = requests

    @property
    def polls(self) -> float:
        text = _ask(f"{PAGE}metrics").decode()
        match = re.search(r"^goe_polls_total\S* (\S+)$", text, re.MULTILINE)
        assert match is not None
        return float(match[1])

    @property
    def cpu(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    @property
    def memory(self) -> float:
        match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert match is not None
        return int(match[1]) / 1024


@contextlib.contextmanager
def _exporter(simulator: Simulator) -> Iterator[_Exporter]:
    charger = Charger("V4")
    charger.plug(Car(battery_wh=60_000))
    box = simulator.add(charger)
    command = [
        *(sys.executable, "-m", "goe_exporter.cli", "serve", f"garage={box.address}"),
        *("--refresh-interval", f"{INTERVAL_SECONDS}s", "--log.level", "warning"),
        *("--web.listen-address", f"127.0.0.1:{PORT}"),
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        time.sleep(2 * INTERVAL_SECONDS)
        yield _Exporter(process.pid, lambda: box.requests)
        process.terminate()


def _measure(
    name: str, pages: Callable[[], contextlib.AbstractContextManager[None]], exporter: _Exporter
) -> Iterator[tuple[str, str, str]]:
    # Open all once, so that memory used by the first requests is not counted as growth.
    with pages():
        time.sleep(2 * INTERVAL_SECONDS)
    time.sleep(SETTLING_SECONDS)
    quiet, before = _scrape_seconds(), exporter.memory
    with pages():
        requests, polls, cpu = exporter.requests(), exporter.polls, exporter.cpu
        time.sleep(SECONDS)
        requests, polls = exporter.requests() - requests, exporter.polls - polls
        cpu, busy, during = exporter.cpu - cpu, _scrape_seconds(), exporter.memory
    time.sleep(SETTLING_SECONDS)
    after = exporter.memory
    yield f"{name}: requests to the charger", f"{requests}", f"{requests / polls:.2f} × polls"
    yield f"{name}: CPU of the exporter", f"{cpu / SECONDS:.3f} cores", ""
    ratio = f"{busy / quiet:.2f} × without pages"
    yield f"{name}: scrape", f"{busy * 1e3:.1f} ms", ratio
    yield f"{name}: memory after", f"{after:.1f} MB", f"{before:.1f} MB before, {during:.1f} during"


def _scrape_seconds() -> float:
    """Return the median time of a scrape, over more than an interval of the pages."""
    times = []
    for _scrape in range(SCRAPES):
        started = time.perf_counter()
        _ask(f"{PAGE}metrics")
        times.append(time.perf_counter() - started)
        time.sleep(1.2 * INTERVAL_SECONDS / SCRAPES)
    return statistics.median(times)


def _ask(url: str, tag: str = "") -> bytes:
    headers = {"Accept-Encoding": "gzip"} if url != f"{PAGE}metrics" else {}
    request = urllib.request.Request(url, headers=headers | ({"If-None-Match": tag} if tag else {}))
    with urllib.request.urlopen(request, timeout=10) as response:
        body: bytes = response.read()
    return body


@contextlib.contextmanager
def _clients() -> Iterator[None]:
    """Run clients that fetch the page, then page and history in every interval."""
    ending = threading.Event()

    def visit() -> None:
        _ask(PAGE)
        _ask(f"{HISTORY}60")
        while not ending.wait(INTERVAL_SECONDS):
            _ask(PAGE)
            _ask(f"{HISTORY}1")

    threads = [threading.Thread(target=visit) for _page in range(PAGES)]
    for thread in threads:
        thread.start()
    yield
    ending.set()
    for thread in threads:
        thread.join()


@contextlib.contextmanager
def _windows() -> Iterator[None]:
    """Open Chromium windows; each counts as visible, so that its script runs."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for option in (*CHROMIUM.split(), f"--user-data-dir={folder}"):
            options.add_argument(option)
        driver = webdriver.Chrome(options, Service("/usr/bin/chromedriver"))
        try:
            for page in range(PAGES):
                if page:
                    driver.switch_to.new_window("window")
                driver.get(PAGE)
            yield
            visible = 0
            for window in driver.window_handles:
                driver.switch_to.window(window)
                visible += driver.execute_script("return !document.hidden && live.received > 0")
            assert visible == PAGES, f"{visible} of {PAGES} pages were live"
        finally:
            driver.quit()
