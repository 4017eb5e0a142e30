"""A real Prometheus: with a history of its own, with targets to scrape, or with both."""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from servers import PATIENCE_SECONDS, answers, binary, free_port, running, wait_for


class Sample(NamedTuple):
    """One sample of a history; its time in Unix seconds."""

    name: str
    labels: Mapping[str, str]
    value: float
    time: float


class Found(NamedTuple):
    """A series that a query found: its labels, and its values by Unix time in seconds."""

    labels: dict[str, str]
    values: dict[float, float]


class Prometheus:
    """Prometheus on a port of its own, running only inside `up`."""

    def __init__(self, folder: Path) -> None:
        self.binary = binary("prometheus")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder / "prometheus"
        self._folder.mkdir()

    def remember(self, samples: Iterable[Sample]) -> None:
        """Give it a past: samples in the order of time, before it runs."""
        path = self._folder / "history.om"
        with path.open("w", encoding="utf-8") as history:
            for name, labels, value, time in samples:
                of = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
                history.write(f"{name}{{{of}}} {value!r} {time!r}\n")
            history.write("# EOF\n")
        # The whole history is read once for each block, of which there are 12 a day by default.
        command = ["tsdb", "create-blocks-from", "--max-block-duration=2160h", "openmetrics"]
        command += [str(path), str(self._data)]
        subprocess.run([binary("promtool"), *command], check=True, capture_output=True)

    @contextlib.contextmanager
    def up(
        self,
        *targets: str,
        job: str = "goe",
        jobs: Sequence[Mapping[str, Any]] = (),
        **sections: object,
    ) -> Iterator[Prometheus]:
        """Run it until the block ends; it scrapes the targets (host:port), and itself, each second.

        Its own metrics are those of another job, which no dashboard of ours may show. `jobs` are
        further ones, and `sections` further parts of the configuration, as they are configured.
        """
        config = self._folder / "prometheus.yml"
        addresses = {job: [*targets], "prometheus": [f"127.0.0.1:{self.port}"]}
        scrapes = [
            {"job_name": name, "static_configs": [{"targets": each}]}
            for name, each in addresses.items()
        ]
        settings = {"global": {"scrape_interval": "1s"}, "scrape_configs": [*scrapes, *jobs]}
        settings |= sections
        config.write_text(yaml.safe_dump(settings))
        command = [
            *(self.binary, f"--config.file={config}", f"--storage.tsdb.path={self._data}"),
            *("--storage.tsdb.retention.time=10y", "--log.level=warn"),
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        with running(command, self._folder / "log"):
            wait_for(lambda: answers(f"{self.url}/-/ready"), "Prometheus")
            yield self

    def now(self, expression: str, time: float) -> list[Found]:
        """Return what an instant query finds at a time."""
        data = self._get("query", query=expression, time=time)
        return [
            Found(each["metric"], {each["value"][0]: float(each["value"][1])})
            for each in data["result"]
        ]

    def past(self, expression: str, start: float, end: float, step: float) -> list[Found]:
        """Return what a range query finds."""
        data = self._get("query_range", query=expression, start=start, end=end, step=step)
        return [
            Found(each["metric"], {at: float(value) for at, value in each["values"]})
            for each in data["result"]
        ]

    def words(self, label: str, match: str = "") -> list[str]:
        """Return a label's values, of the series that match if that is given."""
        matching = {"match[]": match} if match else {}
        found: list[str] = self._get(f"label/{label}/values", **matching)
        return found

    def series(self, match: str) -> list[dict[str, str]]:
        """Return the labels, the name among them, of the series that match."""
        found: list[dict[str, str]] = self._get("series", **{"match[]": match})
        return found

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _get(self, path: str, **query: object) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{json.load(error)['error']}: {query}") from error


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
