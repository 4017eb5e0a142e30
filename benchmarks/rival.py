"""CPU of a poll and of a scrape, against goe-prometheus from the package index.

goe-prometheus is installed into a temporary environment and runs in its own process, alternating
with the exporter against the same simulated charger. `python rival.py HOST`, in that environment,
is that process: to a line such as `poll 100` or `scrape 100` it replies with the CPU seconds of
100 polls or scrapes.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

NAME = "goe-prometheus"
ROUNDS = 15
CALLS = 100


def measure() -> Iterator[tuple[str, str, str]]:
    """Yield (what, figure, ratio) rows."""
    from benchmarks import chargers

    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin", "python"))
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NAME]
        if subprocess.run(pip, stderr=subprocess.DEVNULL, check=False).returncode:
            yield NAME, "cannot be installed here", ""
            return
        with chargers.elsewhere() as host:
            yield from _measure(python, host)


def _measure(python: str, host: str) -> Iterator[tuple[str, str, str]]:
    from benchmarks.chargers import Steady
    from goe_exporter.prometheus.exposition import Exposition

    poll = Steady(host)
    exposition = Exposition(lambda: [poll.poller.view()])

    def scrape() -> str:
        return exposition.render()[0].decode()

    with subprocess.Popen(
        [python, __file__, host], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as rival:
        assert rival.stdin is not None
        assert rival.stdout is not None
        series = {"ours": _series(scrape()), "theirs": int(rival.stdout.readline())}
        times: dict[tuple[str, str], list[float]] = {}
        for _round in range(ROUNDS):
            for work, call in (("poll", poll), ("scrape", scrape)):
                print(work, CALLS, file=rival.stdin, flush=True)
                theirs = float(rival.stdout.readline())
                times.setdefault(("theirs", work), []).append(theirs)
                times.setdefault(("ours", work), []).append(_cpu(call, CALLS))
        rival.communicate()
    cost = {what: statistics.median(seconds) / CALLS for what, seconds in times.items()}
    more = series["ours"] / series["theirs"]
    yield f"{NAME}: series of a charger", f"{series['theirs']}", ""
    yield "series of a charger", f"{series['ours']}", f"{more:.2f} × {NAME}"
    for work in ("poll", "scrape"):
        theirs, ours = cost["theirs", work], cost["ours", work]
        yield f"{NAME}: CPU of a {work}", f"{theirs * 1e6:.0f} µs", ""
        ratio = f"{ours / theirs:.2f} × {NAME}"
        yield f"CPU of a {work}, all series", f"{ours * 1e6:.0f} µs", ratio


def _series(text: str) -> int:
    """Count the series of a text, without the creation times that the library adds."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return sum("_created" not in line for line in lines)


def _cpu(call: Callable[[], object], times: int) -> float:
    started = time.process_time()
    for _call in range(times):
        call()
    return time.process_time() - started


def _be_the_rival(host: str) -> None:
    """Run goe-prometheus' own poll, and its library's rendering, as often as requested."""
    import prometheus_client as library
    from goe.charger import GoEChargerClient
    from goe.json_client import LocalJsonClient
    from goe_prometheus.charger import ChargerMetrics

    for own in (library.GC_COLLECTOR, library.PLATFORM_COLLECTOR, library.PROCESS_COLLECTOR):
        library.REGISTRY.unregister(own)  # as its main function does
    metrics = ChargerMetrics(GoEChargerClient(LocalJsonClient(host)), "one")
    work: dict[str, Callable[[], object]] = {
        "poll": lambda: metrics.poll(timeout=None),
        "scrape": library.generate_latest,
    }
    metrics.poll(timeout=None)
    print(_series(library.generate_latest().decode()), flush=True)
    for line in sys.stdin:
        name, times = line.split()
        print(_cpu(work[name], int(times)), flush=True)


if __name__ == "__main__":
    _be_the_rival(sys.argv[1])
