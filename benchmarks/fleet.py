"""One to thousands of chargers: CPU, memory, threads, switches, lateness of polls, and growth."""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from subprocess import DEVNULL
from typing import NamedTuple

from benchmarks import chargers
from benchmarks.processes import cpu_seconds, memory_mb, switches, threads

GROWTH = (1, 10, 100, 1000, 5000)
PROCESSES, SHARE = 4, 2500
DEAD_PERCENT = 10
INTERVAL_SECONDS = 5
WARM_UP_SECONDS = 20
SECONDS = 30
PORT = 18_332
LATENESS = "goe_exporter_poll_lateness_seconds"


class _Run(NamedTuple):
    """Cost of a fleet: cores, MB, cores of the simulated chargers, polls/s, lateness (s).

    `switches` are context switches per second, voluntary and involuntary.
    """

    cores: float
    memory: float
    scraped: float
    threads: int
    switches: float
    simulated: float
    polls: float
    late_p50: float
    late_p99: float


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows for healthy fleets, then for fleets with a tenth dead."""
    runs = {}
    for count in GROWTH:
        runs[count] = _run(count, 0)[0]
        yield from _rows(f"{count} chargers", runs[count])
    for small, large in itertools.pairwise(count for count in GROWTH if count >= 100):
        growth = f"{small} to {large} chargers: growth"
        cpu = _per_poll(runs[large]) / _per_poll(runs[small])
        yield f"{growth} of CPU per poll", f"{cpu:.2f} ×", "linear is 1 ×"
        memory = runs[large].memory / runs[small].memory
        yield f"{growth} of memory", f"{memory:.2f} ×", f"chargers: {large // small} ×"
    for count in GROWTH[-2:]:
        run = _run(count, count * DEAD_PERCENT // 100)[0]
        yield from _rows(f"{count} chargers, {DEAD_PERCENT} % dead", run)
    for number, run in enumerate(_run(PROCESSES * SHARE, 0, PROCESSES), 1):
        yield from _rows(f"{PROCESSES} × {SHARE} chargers, process {number}", run)


def _per_poll(run: _Run) -> float:
    return run.cores / run.polls


def _rows(name: str, run: _Run) -> Iterator[tuple[str, str, str]]:
    polls = f"{run.polls:.1f} polls/s, {_per_poll(run) * 1e6:.0f} µs per poll"
    yield f"{name}: CPU", f"{run.cores:.3f} cores", polls
    yield f"{name}: memory", f"{run.memory:.0f} MB", f"{run.scraped:.0f} MB after a scrape"
    yield f"{name}: threads", f"{run.threads}", f"{run.switches:.0f} context switches/s"
    late = f"p50 {run.late_p50 * 1e3:.1f} ms, p99 {run.late_p99 * 1e3:.0f} ms"
    yield f"{name}: lateness", late, f"simulated chargers: {run.simulated:.2f} cores"


def _run(count: int, dead: int, processes: int = 1) -> list[_Run]:
    """Poll `count` chargers by `processes` exporters, and return the cost of each."""
    command = [sys.executable, "-m", "benchmarks.fake_chargers", str(count), str(dead)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as fleet,
        contextlib.ExitStack() as stack,
    ):
        assert fleet.stdout is not None
        fleet.stdout.readline()
        exporters = {}
        for number in range(processes):
            port = PORT + number
            config = Path(folder) / f"fleet-{number}.yaml"
            config.write_text(_config(range(number, count, processes)))
            exporter = stack.enter_context(subprocess.Popen(_serve(config, port), stderr=DEVNULL))
            stack.callback(exporter.terminate)
            exporters[port] = exporter.pid
        try:
            return _watched(exporters, fleet.pid)
        finally:
            stack.close()
            fleet.communicate()


def _config(numbers: Iterable[int]) -> str:
    rows = "".join(
        f"  - {{name: charger-{n}, host: '{chargers.address(n)}:{chargers.PORT}'}}\n"
        for n in numbers
    )
    return f"refresh_interval: {INTERVAL_SECONDS}s\nchargers:\n{rows}"


def _serve(config: Path, port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "goe_exporter.cli", "serve", "--config.file", str(config)),
        *("--web.listen-address", f"127.0.0.1:{port}", "--log.level", "warning"),
    ]


class _Moment(NamedTuple):
    """The state of an exporter when its answer to a scrape began.

    Its counters were read just before. `cpu` and `switches` were read before the scrape, so that
    they include the scrape before the interval but not the one after it.
    """

    at: float
    asked: float
    cpu: float
    switches: int
    late: dict[float, float]


def _watched(exporters: dict[int, int], fleet: int) -> list[_Run]:
    """Return the cost of the exporters, by port and process id, over an interval."""
    time.sleep(WARM_UP_SECONDS)
    before = {port: _moment(port, pid) for port, pid in exporters.items()}
    after_scrape = {port: cpu_seconds(pid) for port, pid in exporters.items()}
    started, theirs = time.monotonic(), cpu_seconds(fleet)
    time.sleep(SECONDS)
    theirs = (cpu_seconds(fleet) - theirs) / (time.monotonic() - started)
    memory = {pid: (memory_mb(pid), threads(pid)) for pid in exporters.values()}
    runs = []
    for port, pid in exporters.items():
        first, last = before[port], _moment(port, pid)
        late = {bound: last.late[bound] - first.late[bound] for bound in last.late}
        resident, count = memory[pid]
        runs.append(
            _Run(
                (last.cpu - after_scrape[port]) / (last.asked - started),
                resident,
                memory_mb(pid),
                count,
                (last.switches - first.switches) / (last.asked - first.asked),
                theirs,
                late[float("inf")] / (last.at - first.at),
                _quantile(late, 0.5),
                _quantile(late, 0.99),
            )
        )
    return runs


def _moment(port: int, pid: int) -> _Moment:
    asked, cpu, changes = time.monotonic(), cpu_seconds(pid), switches(pid)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as response:
        at = time.monotonic()
        return _Moment(at, asked, cpu, changes, _lateness(response.read().decode()))


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
