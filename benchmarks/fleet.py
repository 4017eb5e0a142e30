"""Thousands of chargers in one process: CPU, memory, lateness of polls, and their growth."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import chargers
from benchmarks.processes import cpu_seconds, memory_mb

COUNTS = (1000, 5000)
INTERVAL_SECONDS = 5
WARM_UP_SECONDS = 20
SECONDS = 30
METRICS = "http://127.0.0.1:18332/metrics"
LATENESS = "goe_exporter_poll_lateness_seconds"


class _Run(NamedTuple):
    """Cost of a fleet: cores, MB, cores of the simulated chargers, polls/s, lateness (s)."""

    cores: float
    memory: float
    scraped: float
    simulated: float
    polls: float
    late_p50: float
    late_p99: float


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows for healthy fleets and for fleets with a tenth dead."""
    for part in (0, 10):
        runs = [_run(count, count * part // 100) for count in COUNTS]
        for count, run in zip(COUNTS, runs, strict=True):
            yield from _rows(f"{count} chargers, {part} % dead", run)
        small, large = runs
        growth = f"{COUNTS[0]} to {COUNTS[1]} chargers, {part} % dead: growth"
        cpu = large.cores / large.polls / (small.cores / small.polls)
        yield f"{growth} of CPU per poll", f"{cpu:.2f} ×", "linear is 1 ×"
        memory = large.memory / small.memory
        yield f"{growth} of memory", f"{memory:.2f} ×", f"linear is {COUNTS[1] / COUNTS[0]:.0f} ×"


def _rows(name: str, run: _Run) -> Iterator[tuple[str, str, str]]:
    polls = f"{run.polls:.0f} polls/s, {run.cores / run.polls * 1e6:.0f} µs per poll"
    yield f"{name}: CPU", f"{run.cores:.2f} cores", polls
    yield f"{name}: memory", f"{run.memory:.0f} MB", f"{run.scraped:.0f} MB after a scrape"
    late = f"p50 {run.late_p50 * 1e3:.1f} ms, p99 {run.late_p99 * 1e3:.0f} ms"
    yield f"{name}: lateness", late, f"simulated chargers: {run.simulated:.2f} cores"


def _run(count: int, dead: int) -> _Run:
    command = [sys.executable, "-m", "benchmarks.fake_chargers", str(count), str(dead)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as fleet,
    ):
        assert fleet.stdout is not None
        fleet.stdout.readline()
        config = Path(folder) / "fleet.yaml"
        rows = "\n".join(
            f"  - {{name: charger-{n}, host: '{chargers.address(n)}:{chargers.PORT}'}}"
            for n in range(count)
        )
        config.write_text(f"refresh_interval: {INTERVAL_SECONDS}s\nchargers:\n{rows}\n")
        command = [
            *(sys.executable, "-m", "goe_exporter.cli", "serve", "--config", str(config)),
            *("--web.listen-address", "127.0.0.1:18332", "--log-level", "warning"),
        ]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as exporter:
            try:
                return _watched(exporter.pid, fleet.pid)
            finally:
                exporter.terminate()
                fleet.communicate()


def _watched(exporter: int, fleet: int) -> _Run:
    time.sleep(WARM_UP_SECONDS)
    before = _lateness(_scrape())
    started, cpu, theirs = time.monotonic(), cpu_seconds(exporter), cpu_seconds(fleet)
    time.sleep(SECONDS)
    took = time.monotonic() - started
    cpu, theirs = cpu_seconds(exporter) - cpu, cpu_seconds(fleet) - theirs
    memory = memory_mb(exporter)
    after = _lateness(_scrape())
    counts = {bound: after[bound] - before[bound] for bound in after}
    polls = counts[float("inf")]
    return _Run(
        cpu / took,
        memory,
        memory_mb(exporter),
        theirs / took,
        polls / took,
        _quantile(counts, 0.5),
        _quantile(counts, 0.99),
    )


def _lateness(text: str) -> dict[float, float]:
    """Return the cumulative counts of late polls by upper bound in seconds."""
    found = re.findall(rf'^{LATENESS}_bucket{{le="(.+)"}} (.+)$', text, re.MULTILINE)
    return {float(bound): float(count) for bound, count in found}


def _quantile(counts: dict[float, float], share: float) -> float:
    """Return a quantile as PromQL does: linear within a bucket, at most the last bound."""
    rank = share * counts[float("inf")]
    low, below = 0.0, 0.0
    for bound, count in counts.items():
        if count >= rank and bound < float("inf"):
            return low + (bound - low) * (rank - below) / (count - below)
        if bound < float("inf"):
            low, below = bound, count
    return low


def _scrape() -> str:
    with urllib.request.urlopen(METRICS, timeout=60) as response:
        text: str = response.read().decode()
    return text
