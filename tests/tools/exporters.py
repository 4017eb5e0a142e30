"""A running exporter, asked over HTTP, and a charger for it to poll."""

from __future__ import annotations

import base64
import json
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from commands import Command
from servers import PATIENCE_SECONDS, wait_for

from goe_exporter.simulator import Car, Charger

LISTEN = ("--web.listen-address", "127.0.0.1:0")

_STARTED = r'(?:event=started .*url=|"event": "started".*"url": ")([^"\s]+)'


def charging(model: str = "V4", serial: str = "218042") -> Charger:
    """Return a charger in the middle of a session."""
    charger = Charger(model, serial=serial, name="Kabel 1")
    charger.plug(Car(battery_wh=60_000, soc=0.2))
    charger.advance(600)
    return charger


class Exporter:
    """A command that serves HTTP; `password` is `USER:PASSWORD` where it asks for one."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.url = command.line(_STARTED)[1]
        self.port = urlsplit(self.url).port
        self.pid = command.process.pid
        self.password = ""

    def get(self, path: str) -> str:
        request = urllib.request.Request(f"{self.url}{path}")
        if self.password:
            encoded = base64.b64encode(self.password.encode()).decode()
            request.add_header("Authorization", f"Basic {encoded}")
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as response:
            return str(response.read().decode())

    def answer(self, path: str) -> tuple[int, str]:
        """Return the status and the text of an answer of any status."""
        try:
            return 200, self.get(path)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def samples(self) -> dict[str, float]:
        """Return the samples on `/metrics` by name and labels as written there."""
        lines = [line for line in self.get("metrics").splitlines() if not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    def value(self, sample: str) -> float | None:
        return self.samples().get(sample)

    def count(self, sample: str) -> float:
        """Return a sample, 0 where it is absent."""
        return self.value(sample) or 0

    def wait(self, sample: str, value: float) -> None:
        """Wait until a sample has a value."""
        wait_for(lambda: self.value(sample) == value, f"{sample} {value}")

    def delivery(self) -> dict[str, Any]:
        """Return the statistics of the delivery to InfluxDB."""
        found: dict[str, Any] = json.loads(self.get("api/v1/influx"))
        return found

    def cpu_seconds(self) -> float:
        """Return the CPU time that its process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mb(self) -> float:
        """Return the resident memory of its process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match is not None
        return int(match[1]) / 1024
