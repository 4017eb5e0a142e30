"""What a scrape of 10,000 samples costs, against writing the same bytes out; and memory."""

from __future__ import annotations

import gc
import socket
import threading
import tracemalloc
from collections.abc import Iterator

from benchmarks import chargers
from benchmarks.cycle import side_by_side
from goe_exporter.collector import Collector
from goe_exporter.model import Distribution
from goe_exporter.prometheus import Exposition
from goe_exporter.schedule import DURATION_BOUNDS, LATENESS_BOUNDS

SAMPLES = 10_000
CYCLES = 10_000


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    with chargers.one() as collector:
        yield from _render(collector)
        yield from _memory(collector)


def _render(collector: Collector) -> Iterator[tuple[str, str, str]]:
    view = collector.view()
    distributions = Distribution(DURATION_BOUNDS), Distribution(LATENESS_BOUNDS)
    each = _samples(Exposition(lambda: [view] * 2, *distributions)) - _samples(
        Exposition(lambda: [view], *distributions)
    )
    exposition = Exposition(lambda: [view] * round(SAMPLES / each), *distributions)
    body, _content_type = exposition.render()
    ours, theirs = socket.socketpair()

    def drain() -> None:
        while theirs.recv(1 << 20):
            pass

    reader = threading.Thread(target=drain, daemon=True)
    reader.start()
    costs = side_by_side(
        {"write": lambda: ours.sendall(body), "render": exposition.render}, calls=5
    )
    ours.close()
    reader.join()
    theirs.close()
    count = _samples(exposition)
    yield f"writing {len(body) / 1e3:.0f} kB out", f"{costs['write'] * 1e3:.2f} ms", "floor"
    ratio = f"{costs['render'] / costs['write']:.0f} × floor"
    yield f"rendering {count} samples", f"{costs['render'] * 1e3:.1f} ms", ratio


def _samples(exposition: Exposition) -> int:
    body, _content_type = exposition.render()
    return sum(not line.startswith(b"#") for line in body.splitlines())


def _memory(collector: Collector) -> Iterator[tuple[str, str, str]]:
    tracemalloc.start()
    # The simulator in this process remembers its last thousand requests.
    for _cycle in range(2 * CYCLES // 10):
        collector.cycle()
    gc.collect()
    early, _peak = tracemalloc.get_traced_memory()
    for _cycle in range(CYCLES):
        collector.cycle()
    gc.collect()
    late, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    yield f"memory gained over {CYCLES} cycles", f"{(late - early) / 1e3:.0f} kB", ""
