"""Start-up of the commands against Python with two libraries, and memory of a small `serve`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

from benchmarks import chargers
from benchmarks.processes import memory_mb

RUNS = 9
BASELINE = "baseline: python -c 'import click, requests'"
SCRAPES = 20
INTERVAL_SECONDS = 1
PORT = 18_334


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    with chargers.process("benchmarks.chargers", "1", "0"):
        host = f"{chargers.address(0)}:{chargers.PORT}"
        yield from _startup(host)
        yield _memory(host)


def _startup(host: str) -> Iterator[tuple[str, str, str]]:
    command = (sys.executable, "-m", "goe_exporter.cli")
    runs: dict[str, tuple[str, ...]] = {
        "python -c pass": (sys.executable, "-c", "pass"),
        BASELINE: (sys.executable, "-c", "import click, requests"),
        "--help, whole process": (*command, "--help"),
        "read, whole process": (*command, "read", host),
        "set, whole process": (*command, "set", host, "max-current", "10"),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _run in range(RUNS):
        for name, arguments in runs.items():
            times[name].append(_cpu_of(arguments))
    baseline = statistics.median(times[BASELINE])
    for name, seconds in times.items():
        cost = statistics.median(seconds)
        yield name, f"{cost * 1e3:.0f} ms of CPU", f"{cost / baseline:.2f} × baseline"


def _cpu_of(arguments: tuple[str, ...]) -> float:
    before = os.times()
    subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def _memory(host: str) -> tuple[str, str, str]:
    command = [
        *(sys.executable, "-m", "goe_exporter.cli", "serve", host, "--log.level", "warning"),
        *("--web.listen-address", f"127.0.0.1:{PORT}"),
        *("--refresh-interval", f"{INTERVAL_SECONDS}s"),
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as serve:
        time.sleep(5 * INTERVAL_SECONDS)
        early = memory_mb(serve.pid)
        for _scrape in range(SCRAPES):
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=10).read()
        late = memory_mb(serve.pid)
        serve.terminate()
    what = f"memory of serve with one charger, after {SCRAPES} scrapes"
    return what, f"{late:.1f} MB", f"{early:.1f} MB before"
