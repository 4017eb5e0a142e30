"""Cost of a scrape, against writing the same bytes and against prometheus_client; and memory."""

from __future__ import annotations

import contextlib
import gc
import http.client
import itertools
import socket
import statistics
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks import chargers
from benchmarks.poll import side_by_side
from benchmarks.processes import cpu_seconds
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.polling.view import ChargerView
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.prometheus.families import Provider
from goe_exporter.prometheus.process import process_metrics
from goe_exporter.service.self_metrics import polling
from goe_exporter.simulator import Charger

SAMPLES = 10_000
COUNTS = (1, 100, 1000)
POLLS = 10_000
SCRAPES = 4
SCRAPE_SECONDS = 15
HTTP_SECONDS = 3.0


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    charger = chargers.charging()
    with chargers.one(charger) as poller:
        views = list(_scraped(charger, poller))
        yield from _render(f"{SAMPLES} samples", views, _chargers(views[0]))
        for count in COUNTS:
            yield from _render(f"{count} chargers", views, count)
        for count in COUNTS:
            yield from _over_http(count)
        yield from _memory(poller)


def _scraped(charger: Charger, poller: Poller) -> Iterator[ChargerView]:
    """Yield what some scrapes see of a charger."""
    for _scrape in range(SCRAPES):
        charger.advance(SCRAPE_SECONDS)
        poller.poll()
        yield poller.view()


def _exposition(views: Sequence[ChargerView]) -> Exposition:
    return Exposition(lambda: views, _own())


def _own() -> list[Provider]:
    return [partial(polling, Scheduler(())), process_metrics()]


def _samples(views: Sequence[ChargerView]) -> int:
    body, _content_type = _exposition(views).render()
    return sum(not line.startswith(b"#") for line in body.splitlines())


def _chargers(view: ChargerView) -> int:
    """Return how many such chargers have about `SAMPLES` samples."""
    each = _samples([view] * 2) - _samples([view])
    return round(SAMPLES / each)


def _render(name: str, views: Sequence[ChargerView], count: int) -> Iterator[tuple[str, str, str]]:
    """Render `count` chargers whose lines are prepared, as from the second scrape on."""
    sys.path.append(str(Path(__file__).parent.parent / "tests" / "tools"))
    import by_library
    from by_library import encoded, families

    fleets, own = [chargers.fleet(view, count) for view in views], _own()[:1]
    ours, theirs = itertools.cycle(fleets), itertools.cycle(fleets)
    exposition = Exposition(lambda: next(ours), own)
    body, _content_type = exposition.render()
    work = {
        "render": exposition.render,
        "library": lambda: encoded([*families(next(theirs)), *by_library.provided(own)]),
    }
    with _drained() as near:
        work["write"] = lambda: near.sendall(body)
        costs = side_by_side(work, calls=max(1, 200 // count), rounds=7)
    write, render = costs["write"], costs["render"]
    yield f"{name}: writing {len(body) / 1e3:.0f} kB", f"{write * 1e3:.2f} ms of CPU", "baseline"
    yield (
        f"{name}: rendering {_samples(fleets[0])} samples",
        f"{render * 1e3:.2f} ms of CPU",
        f"{render / write:.0f} × baseline",
    )
    yield (
        f"{name}: rendering by prometheus_client",
        f"{costs['library'] * 1e3:.1f} ms of CPU",
        f"{costs['library'] / render:.1f} × exporter",
    )


@contextlib.contextmanager
def _drained() -> Iterator[socket.socket]:
    """Yield a socket whose other end is read."""
    near, far = socket.socketpair()

    def drain() -> None:
        while far.recv(1 << 20):
            pass

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    yield near
    near.close()
    reader.join()
    far.close()


def _over_http(count: int) -> Iterator[tuple[str, str, str]]:
    """Scrape a process that serves `count` chargers, plain and with gzip."""
    command = [sys.executable, "-m", "benchmarks.static_server", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        connection = http.client.HTTPConnection("127.0.0.1", int(server.stdout.readline()))
        for encoding in ("identity", "gzip"):
            times, size, started = [], 0, time.monotonic()
            cpu = cpu_seconds(server.pid)
            while time.monotonic() < started + HTTP_SECONDS:
                begun = time.perf_counter()
                connection.request("GET", "/metrics", headers={"Accept-Encoding": encoding})
                size = len(connection.getresponse().read())
                times.append(time.perf_counter() - begun)
            cpu = (cpu_seconds(server.pid) - cpu) / len(times)
            what = f"{count} chargers: scrape over HTTP, {encoding}, {size / 1e3:.0f} kB"
            figure = f"{statistics.median(times) * 1e3:.1f} ms"
            yield what, figure, f"{cpu * 1e3:.1f} ms of CPU"
        connection.close()
        server.terminate()


def _memory(poller: Poller) -> Iterator[tuple[str, str, str]]:
    tracemalloc.start()
    # The simulator in this process keeps its last thousand requests.
    for _poll in range(2 * POLLS // 10):
        poller.poll()
    gc.collect()
    early, _peak = tracemalloc.get_traced_memory()
    for _poll in range(POLLS):
        poller.poll()
    gc.collect()
    late, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    yield f"memory growth over {POLLS} polls", f"{(late - early) / 1e3:.0f} kB", ""
