"""The exporter in its own process: started, scraped, measured and stopped from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.soak.chargers import Station
from tests.soak.exporter import Clock

INTERVAL_MS = 50
SPOOL_LIMIT = "8MiB"
START_SECONDS = 60.0

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Metrics = dict[tuple[str, ...], float]
"""A sample's name and its labels' values, in their order, → its value."""


ALLOCATOR = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""As in the image and the systemd unit; by default glibc keeps the memory of the largest batch."""


class Usage(NamedTuple):
    """Resources of the process: private memory (kB), file descriptors, threads."""

    memory_kb: int
    descriptors: int
    threads: int


class Exporter:
    """The process, from `start` to `stop`; it logs to the file `log`."""

    def __init__(self, folder: Path, listen: str, bucket_url: str) -> None:
        """Set the paths in its directory."""
        self.log = folder / "log"
        self.spool = folder / "spool"
        self.clock = Clock(folder / "clock")
        self._clock_file = folder / "clock"
        self._config = folder / "exporter.yaml"
        self._listen = listen
        self._bucket_url = bucket_url
        self._process: subprocess.Popen[bytes]

    def configure(self, stations: Sequence[Station], **more: object) -> None:
        """Write the configuration for these chargers; `more` is added to it."""
        document: dict[str, object] = {
            "refresh_interval": f"{INTERVAL_MS}ms",
            "chargers": [
                {"name": each.name, "host": each.address, "api": each.api, **each.further}
                for each in stations
            ],
            "influxdb": {
                "url": self._bucket_url,
                "bucket": "soak",
                "spool": str(self.spool),
                "spool_limit": SPOOL_LIMIT,
                "timeout": "1s",
            },
        }
        self._config.write_text(yaml.safe_dump(document | more))

    def start(self) -> None:
        """Start the process."""
        command = [sys.executable, "-m", "tests.soak.exporter", str(self._clock_file), "serve"]
        command += ["--config.file", str(self._config), "--web.listen-address", self._listen]
        with self.log.open("wb") as log:
            environment = os.environ | ALLOCATOR
            self._process = subprocess.Popen(command, stderr=log, env=environment)

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def reload(self) -> None:
        """Reload the configuration."""
        self._process.send_signal(signal.SIGHUP)

    def stop(self, seconds: float) -> int | None:
        """Stop it with SIGTERM; return its exit status, None if it had to be killed."""
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None

    def get(self, path: str) -> str:
        """Return the response body at a path."""
        url = f"http://{self._listen}{path}"
        with urllib.request.urlopen(url, timeout=START_SECONDS) as response:
            text: str = response.read().decode()
        return text

    def metrics(self) -> Metrics:
        """Return the samples of a scrape."""
        found = _SAMPLE.findall(self.get("/metrics"))
        return {
            (name, *(value for _label, value in _LABEL.findall(labels))): float(number)
            for name, labels, number in found
        }

    def usage(self) -> Usage:
        """Return the resources that it uses."""
        place = Path(f"/proc/{self._process.pid}")
        rollup = (place / "smaps_rollup").read_text()
        private = re.findall(r"^Private_(?:Clean|Dirty): +(\d+) kB$", rollup, re.MULTILINE)
        return Usage(
            sum(map(int, private)),
            sum(1 for _ in (place / "fd").iterdir()),
            sum(1 for _ in (place / "task").iterdir()),
        )
