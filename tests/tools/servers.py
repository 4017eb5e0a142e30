"""Real servers for tests: Debian's binaries on loopback, started and ended by the test."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
import yaml

Result = TypeVar("Result")


def binary(name: str) -> str:
    """Return the path of a server's binary; where it is missing, skip, or fail in CI."""
    path = shutil.which(name)
    if path is None:
        message = f"{name} is not installed (sh tests/install-servers, as root)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


PATIENCE_SECONDS = 60.0
"""How long a test waits for what must happen: so long that only what hangs takes it."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def wait_for(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until `condition` holds; fail naming `what` after `seconds`."""
    end, pause = time.monotonic() + seconds, 0.001
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:g} s in vain for {what}")
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def returned(function: Callable[[], Result]) -> Result:
    """Return what a function returns, or raise what it raises; fail if it does neither."""
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001, raised again in the test's thread
            future.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive(), f"{function} hangs"
    return future.result()


def answers(url: str) -> bool:
    """Tell whether a URL answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command until the block ends; its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class InfluxDB:
    """InfluxDB 1.x on a port of its own, running only inside `up`, as often as that is entered.

    With a `password`, user `goe` has it and every request needs it. With a `certificate` it
    speaks TLS, though `url` says http, and has no database.
    """

    def __init__(self, folder: Path, password: str = "", certificate: Path | None = None) -> None:
        self.binary = binary("influxd")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder / "influxdb"
        self._folder.mkdir()
        self._certificate = certificate
        self._login = {"u": "goe", "p": password} if password else {}
        self._config = self._folder / "influxdb.conf"
        self._config.write_text(
            "reporting-disabled = true\n"
            f'bind-address = "127.0.0.1:{free_port()}"\n'
            f'[meta]\ndir = "{self._folder}/meta"\n'
            f'[data]\ndir = "{self._folder}/data"\nwal-dir = "{self._folder}/wal"\n'
            f'[http]\nbind-address = "127.0.0.1:{self.port}"\nlog-enabled = false\n'
            f"auth-enabled = {'true' if password else 'false'}\n"
            + (
                f'https-enabled = true\nhttps-certificate = "{certificate}"\n'
                if certificate
                else ""
            )
            + '[logging]\nlevel = "error"\n'
        )

    @contextlib.contextmanager
    def up(self, database: str = "goe") -> Iterator[InfluxDB]:
        """Run it until the block ends, with a database unless its name is empty."""
        command = [self.binary, "-config", str(self._config)]
        with running(command, self._folder / "log"):
            wait_for(lambda: _responds(f"{self.url}/ping"), "InfluxDB")
            if self._login:
                password = self._login["p"]
                self.query(f"CREATE USER goe WITH PASSWORD '{password}' WITH ALL PRIVILEGES")
            if database and not self._certificate:
                self.query(f"CREATE DATABASE {database}")
            yield self

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Return a statement's rows, each with its columns, what is null left out; times in ms."""
        form = {"q": statement, "db": "goe", "epoch": "ms"}
        url = f"{self.url}/query?{urllib.parse.urlencode(self._login)}"
        body = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(url, body, timeout=PATIENCE_SECONDS) as response:
            (result,) = json.load(response)["results"]
        assert "error" not in result, (statement, result)
        return [
            {
                column: value
                for column, value in zip(series["columns"], row, strict=True)
                if value is not None
            }
            for series in result.get("series", [])
            for row in series["values"]
        ]

    def points(self, charger: str | None = None) -> list[dict[str, Any]]:
        """Return the points there are, of one charger if it is named, the oldest first."""
        rows = self.query("SELECT * FROM goe_charger ORDER BY time")
        return [row for row in rows if charger in (None, row.get("charger"))]

    def write(self, line: str, precision: str = "ms") -> None:
        """Write line protocol."""
        query = urllib.parse.urlencode({"db": "goe", "precision": precision, **self._login})
        with urllib.request.urlopen(
            f"{self.url}/write?{query}", line.encode(), timeout=PATIENCE_SECONDS
        ) as done:
            assert done.status == 204


class Series(NamedTuple):
    """A time series: its labels, and its values by Unix time in ms."""

    labels: dict[str, str]
    values: dict[int, float]


class VictoriaMetrics:
    """VictoriaMetrics on a port of its own, running only inside `up`."""

    def __init__(self, folder: Path) -> None:
        self.binary = binary("victoria-metrics")
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = folder / "victoria"
        self._folder.mkdir()

    @contextlib.contextmanager
    def up(self) -> Iterator[VictoriaMetrics]:
        """Run it until the block ends."""
        command = [
            *(self.binary, f"-storageDataPath={self._folder}", "-loggerLevel=ERROR"),
            f"-httpListenAddr=127.0.0.1:{self.port}",
        ]
        with running(command, self._folder.with_suffix(".log")):
            wait_for(lambda: answers(f"{self.url}/health"), "VictoriaMetrics")
            yield self

    def series(self, name: str = "", **labels: str) -> list[Series]:
        """Return the series of a name, or all, that have these labels."""
        urllib.request.urlopen(f"{self.url}/internal/force_flush", timeout=PATIENCE_SECONDS).close()
        match = f'{{__name__="{name}"}}' if name else '{__name__!=""}'
        body = urllib.parse.urlencode({"match[]": match}).encode()
        with urllib.request.urlopen(
            f"{self.url}/api/v1/export", body, timeout=PATIENCE_SECONDS
        ) as response:
            found = [json.loads(line) for line in response]
        return [
            Series(one["metric"], dict(zip(one["timestamps"], one["values"], strict=True)))
            for one in found
            if labels.items() <= one["metric"].items()
        ]


def push_config(folder: Path, url: str, chargers: Mapping[str, str], **settings: object) -> Path:
    """Write a configuration that polls `chargers` (address by name) each second; return its path.

    It pushes to a v1 database `goe` at `url`, but for what `settings` say for section `influxdb`.
    """
    influxdb = {"url": url, "api": "v1", "bucket": "goe", "spool": str(folder / "spool")}
    document = {
        "refresh_interval": "1s",
        "chargers": [{"name": name, "host": host} for name, host in chargers.items()],
        "influxdb": influxdb | settings,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    return path


def _responds(url: str) -> bool:
    """Tell whether a URL answers, with whatever it has to say."""
    try:
        urllib.request.urlopen(url, timeout=PATIENCE_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    return True


EC_KEY = "ec -pkeyopt ec_paramgen_curve:prime256v1"


def self_signed(folder: Path, name: str = "prometheus.example", kind: str = EC_KEY) -> Path:
    """Return a file with a new self-signed certificate for a name and 127.0.0.1, and its key.

    `kind` is openssl's name of the kind of key, such as `rsa:2048`.
    """
    key, public, both = folder / "key.pem", folder / "certificate.pem", folder / "both.pem"
    request = f"req -x509 -newkey {kind} -nodes -days 2"
    subject = f"-subj /CN=test -addext subjectAltName=DNS:{name},IP:127.0.0.1"
    options = [*request.split(), *subject.split(), "-keyout", str(key), "-out", str(public)]
    subprocess.run([binary("openssl"), *options], check=True, capture_output=True)
    both.write_text(key.read_text() + public.read_text())
    return both
