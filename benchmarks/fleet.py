"""A thousand chargers in one process: CPU, memory, and how late polls begin."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks import chargers

COUNT = 1000
INTERVAL_SECONDS = 5
WARM_UP_SECONDS = 15
SECONDS = 60
METRICS = "http://127.0.0.1:18332/metrics"


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows for a healthy fleet and one with a tenth dead."""
    for dead in (0, COUNT // 10):
        yield from _measure(dead)


def _measure(dead: int) -> Iterator[tuple[str, str, str]]:
    simulator = [sys.executable, "-m", "benchmarks.chargers", str(COUNT), str(dead)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(simulator, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as fleet,
    ):
        assert fleet.stdout is not None
        fleet.stdout.readline()
        config = Path(folder) / "fleet.yaml"
        rows = "\n".join(
            f"  - {{name: charger-{n}, host: '{chargers.address(n)}:{chargers.PORT}'}}"
            for n in range(COUNT)
        )
        config.write_text(f"refresh_interval: {INTERVAL_SECONDS}s\nchargers:\n{rows}\n")
        command = [
            *(sys.executable, "-m", "goe_exporter", "serve", "--config", str(config)),
            *("--web.listen-address", "127.0.0.1:18332", "--log-level", "warning"),
        ]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as exporter:
            time.sleep(WARM_UP_SECONDS)
            before = _scrape()
            cpu = _cpu(exporter.pid)
            time.sleep(SECONDS)
            cpu, memory = _cpu(exporter.pid) - cpu, _memory(exporter.pid)
            after = _scrape()
            peak = _memory(exporter.pid)
            exporter.terminate()
        fleet.communicate()
    name = f"{COUNT} chargers, {dead} dead"
    polls = _value(after, "goe_exporter_poll_lateness_seconds_count") - _value(
        before, "goe_exporter_poll_lateness_seconds_count"
    )
    yield f"{name}: CPU", f"{cpu / SECONDS:.2f} cores", f"{polls / SECONDS:.0f} polls/s"
    yield f"{name}: memory", f"{memory:.0f} MB", f"{peak:.0f} MB after a scrape"
    for bound in ("0.01", "0.05", "0.25"):
        bucket = f'goe_exporter_poll_lateness_seconds_bucket{{le="{bound}"}}'
        early = _value(after, bucket) - _value(before, bucket)
        late = f"polls within {float(bound) * 1000:.0f} ms of their tick"
        yield f"{name}: {late}", f"{early / polls:.2%}", f"of {polls:.0f}"


def _scrape() -> str:
    with urllib.request.urlopen(METRICS, timeout=60) as response:
        text: str = response.read().decode()
    return text


def _value(text: str, sample: str) -> float:
    match = re.search(rf"^{re.escape(sample)} (.+)$", text, re.MULTILINE)
    assert match is not None, sample
    return float(match[1])


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) / 1024
