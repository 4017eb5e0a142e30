"""The spool: cost of a point on disk, an outage of eight weeks, and delivery to the socket."""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest import mock

from benchmarks import chargers
from benchmarks.poll import side_by_side
from goe_exporter.influx.dead_letters import DeadLetters
from goe_exporter.influx.line_protocol import line
from goe_exporter.influx.parked import ParkedLines
from goe_exporter.influx.sender import Sender
from goe_exporter.influx.write_api import Access, ServerV2
from goe_exporter.spool.queue import Spool

APPENDS = 1000
EIGHT_WEEKS = 1_000_000
LIMIT_BYTES = 512 * 1024 * 1024
DRAIN_LINES = 5000
BATCH = 10
CALLS = 50


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    with chargers.one() as poller:
        with tempfile.TemporaryDirectory() as folder:
            yield from _append(Path(folder), line(poller.last_poll(), {}).encode())
        with tempfile.TemporaryDirectory() as folder:
            yield from _outage(Path(folder), line(poller.last_poll(), {}).encode())
    with chargers.elsewhere() as host, tempfile.TemporaryDirectory() as folder:
        yield from _end_to_end(Path(folder), chargers.Steady(host))


def _append(folder: Path, point: bytes) -> Iterator[tuple[str, str, str]]:
    spool = Spool(folder / "spool", LIMIT_BYTES)
    record = b"00000000 " + point + b"\n"
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def bare() -> None:
        os.write(descriptor, record)
        os.fdatasync(descriptor)

    times: dict[str, list[float]] = {"bare": [], "spool": []}
    work: dict[str, Callable[[], object]] = {"bare": bare, "spool": lambda: spool.append(point)}
    for _turn in range(APPENDS):
        for name, call in work.items():
            started = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - started)
    os.close(descriptor)
    spool.close()
    for label, percent in (("p50", 50), ("p99", 99)):
        floor, ours = (statistics.quantiles(times[name], n=100)[percent - 1] for name in times)
        what = f"appending a point of {len(point)} bytes, {label}"
        yield what, f"{ours * 1e6:.0f} µs", f"{ours / floor:.2f} × write and fdatasync"


def _outage(folder: Path, point: bytes) -> Iterator[tuple[str, str, str]]:
    """Append eight weeks of points, one every 5 s, without a server; then read them all."""
    spool = Spool(folder / "spool", LIMIT_BYTES)
    # A million real fdatasyncs would measure the disk; their cost is in the rows above.
    with mock.patch("os.fdatasync", new=id):
        for _point in range(EIGHT_WEEKS):
            spool.append(point)
    size = sum(path.stat().st_size for path in folder.rglob("*.log"))
    figure = f"{size / 1024**2:.0f} MiB"
    yield "size of 1,000,000 queued points", figure, f"limit {LIMIT_BYTES / 1024**2:.0f} MiB"
    kept = spool.pending
    started, delivered = time.perf_counter(), 0
    while (batch := spool.read(DRAIN_LINES)).lines:
        delivered += len(batch.lines)
        spool.commit(batch.end)
    rate = delivered / (time.perf_counter() - started)
    spool.close()
    yield "draining without network", f"{rate:,.0f} lines/s", f"{delivered} of {kept} stored"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    yield "peak memory after the outage", f"{peak:.0f} MB", ""


def _end_to_end(folder: Path, poll: chargers.Steady) -> Iterator[tuple[str, str, str]]:
    """Push points from the poll to the socket, alone and ten at a time, against the poll."""
    spool = Spool(folder / "spool", LIMIT_BYTES)
    with chargers.process("benchmarks.sink") as port:
        target = ServerV2(f"http://127.0.0.1:{port}", "o", "b", "t", Access())
        dead = DeadLetters(folder / "dead", LIMIT_BYTES // 16)
        parked = ParkedLines(folder / "parked", LIMIT_BYTES // 16)
        sender = Sender(spool, target, dead, parked)

        def push(points: int) -> None:
            for _point in range(points):
                spool.append(line(poll.poller.last_poll(), {}).encode())
            assert sender.deliver_once() == 0

        work: dict[str, Callable[[], object]] = {
            "poll": poll,
            "alone": partial(push, 1),
            "of ten": partial(push, BATCH),
        }
        costs = side_by_side(work, calls=CALLS)
    parked.close()
    dead.close()
    spool.close()
    for name, points in (("alone", 1), ("of ten", BATCH)):
        cost = costs[name] / points
        what = f"CPU of pushing a point {name}, from the poll to the socket"
        yield what, f"{cost * 1e6:.0f} µs", f"{cost / costs['poll']:.2f} × poll"
