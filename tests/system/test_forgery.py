"""Foreign text forges no line: not of the log, not of `/metrics`, not of the output of `read`.

Chargers, a server and web clients send hostile text to a real `serve`, in every place that they
control.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Command, Goe, Launch
from fake_influx import Fakes, Received, Reply
from logfmt import fields
from paths import ROOT
from servers import PATIENCE_SECONDS, push_config, wait_for

FORGED = "event=forged level=error"
BREAKS = ("\n", "\r\n", "\r", "\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e", "\0")
HOSTILE = "".join(
    f"{end}time=2026-01-01T00:00:00Z {FORGED}{end}goe_forged 1{end}# TYPE goe_forged gauge{end}"
    for end in BREAKS
)
HOSTILE += '"} 1\ngoe_forged{a="\x1b[31m\x1b]0;title\x07\u202e\u2066\x9b2J\b\x7f\\" \\n \ud800'
"""Line ends of all kinds with forged lines of a log and of metrics, and control sequences."""

EVENTS = {
    "poll failed",
    "poll succeeded again",
    "value could not be decoded",
    "delivery failed",
    "delivery recovered",
    "lines parked",
    "started",
    "stopped",
    "points kept until the clock is confirmed",
    "clock confirmed, waiting points stamped",
}


def fixture(name: str) -> dict[str, object]:
    """Return a status from the fixtures."""
    found: dict[str, object] = json.loads((ROOT / f"tests/fixtures/{name}.json").read_text())
    return found


V2, V1 = fixture("v2_v3_charging_three_phases"), fixture("v1_v2hardware_charging")


def hostile(status: dict[str, object], *, texts_only: bool) -> dict[str, object]:
    """Return a status whose texts, or all values but the energy, are hostile."""
    found = {
        key: HOSTILE if isinstance(value, str) and not value.isdigit() else value
        for key, value in status.items()
    }
    if not texts_only:
        found |= {key: HOSTILE for key in found if key != "eto"}
    if "typ" in found:
        found["typ"] = f"go-eCharger {HOSTILE}"
    cards = [{"name": f"{HOSTILE}{number}", "energy": 10, "cardId": True} for number in range(3)]
    return found | {"cards": cards, HOSTILE: HOSTILE}


def status_of(texts_only: bool) -> Callable[[Received], Reply]:
    """Return a rule that responds with a hostile status of either API."""

    def rule(request: Received) -> Reply:
        status = hostile(V1 if request.path == "/status" else V2, texts_only=texts_only)
        return Reply(200, json.dumps(status).encode())

    return rule


def says(status: int, text: str) -> Callable[[Received], Reply]:
    """Return a rule that responds with a text."""
    return lambda _request: Reply(status, text.encode("utf-8", "replace"))


CHARGERS = {
    "texts": status_of(texts_only=True),
    "values": status_of(texts_only=False),
    "error": says(500, HOSTILE),
    "sentence": says(500, f"Sorry {FORGED}"),
    "denied": says(401, f"no\n{FORGED}"),
    "no_json": says(200, HOSTILE),
    "outdated": says(404, f"outdated {HOSTILE}"),
    "key": says(200, json.dumps([{HOSTILE: 1}])),
    "device": says(200, json.dumps({"car": 1, "typ": HOSTILE})),
    "object": says(200, json.dumps({HOSTILE: 1, "error": HOSTILE})),
}


def influx() -> Callable[[Received], Reply]:
    """Return a rule: one failure, then rejections of one charger's lines with a hostile message."""
    failures = iter([says(503, HOSTILE)])

    def rule(request: Received) -> Reply:
        failure = next(failures, None) if request.body else None
        if failure is not None:
            return failure(request)
        return says(400, HOSTILE)(request) if b"charger=values" in request.body else Reply()

    return rule


def ask(port: int, path: str, *lines: bytes) -> bytes:
    """Send a request with these header lines, unchanged, and return the response."""
    head = b"\r\n".join((f"GET {path} HTTP/1.1".encode(), b"Host: a", *lines, b"", b""))
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(head.replace(b"Host: a\r\n", b"Host: a\r\nConnection: close\r\n"))
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                received += piece
    return received


def metrics(port: int) -> list[str]:
    """Return the lines of `/metrics`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().split("\n")
    assert lines[-1] == ""
    return lines[:-1]


def logged(command: Command, log_format: str) -> list[dict[str, str]]:
    """Stop a command and return the lines of its log, each parsed."""
    outcome = command.end(signal.SIGTERM)
    assert (outcome.status, outcome.out) == (0, "")
    lines = outcome.err.split("\n")
    assert lines.pop() == ""
    assert all(line.isprintable() for line in lines)
    return [json.loads(line) if log_format == "json" else fields(line) for line in lines]


@pytest.mark.parametrize("log_format", ["logfmt", "json"])
def test_serve(launch: Launch, fakes: Fakes, tmp_path: Path, log_format: str) -> None:
    """Every line of the log is an event of the exporter, every line of `/metrics` a sample."""
    servers = {name: fakes(rule) for name, rule in CHARGERS.items()}
    database = fakes(influx())
    hosts = {name: server.host for name, server in servers.items()}
    # The owner configures names; this one is harmless in the log all the same.
    hosts[f"nobody{HOSTILE}".replace("\ud800", "")[:400]] = "127.0.0.1:1"
    config = push_config(tmp_path, database.url, hosts)
    listen = ("--web.listen-address", "127.0.0.1:0", "--log-level", "debug")
    command = launch("serve", "--config", str(config), *listen, "--log-format", log_format)
    port = int(command.line(r"http://127\.0\.0\.1:(\d+)/")[1])
    parked = tmp_path / "spool" / "parked"

    def done() -> bool:
        polled = all(len(server.received) >= 2 for server in servers.values())
        return polled and any(path.stat().st_size for path in parked.glob("*.log"))

    wait_for(done, "answers and a refusal")
    for line in (HOSTILE.encode("utf-8", "replace"), b"X: \x1b[31m\x85" + FORGED.encode()):
        ask(port, "/charger/%0aevent=forged%0d%e2%80%a8", b"User-Agent: " + line, line)
        ask(port, "/metrics", b"Authorization: Basic " + line)
    found = metrics(port)
    lines = logged(command, log_format)
    assert {line["event"] for line in lines} <= EVENTS
    assert {"poll failed", "value could not be decoded", "delivery failed", "lines parked"} <= {
        line["event"] for line in lines
    }
    assert all(line["level"] in ("info", "warning") for line in lines)
    failed = [line["charger"] for line in lines if line["event"] == "poll failed"]
    assert len(failed) == len(set(failed)) == len(CHARGERS) - 2 + 1
    sample = re.compile(
        r'[a-z_]+(\{([a-z_]+="(?:[^"\\]|\\[\\n"])*",?)*\})? [0-9.e+-]+|# (HELP|TYPE) .*'
    )
    for each in found:
        assert sample.fullmatch(each), each
        assert not each.startswith(("goe_forged", "time=", "# TYPE goe_forged"))
    assert sum(each.startswith("goe_up{") for each in found) == len(hosts)
    assert sum(each.startswith("goe_device_info{") for each in found) >= 1


@pytest.mark.parametrize("api", ["1", "2"])
@pytest.mark.parametrize("name", CHARGERS)
def test_read(goe: Goe, fakes: Fakes, api: str, name: str) -> None:
    """A table has the lines of a harmless charger, other formats their own, errors one."""
    good = fakes(says(200, json.dumps(V1 if api == "1" else V2)))
    host = fakes(CHARGERS[name]).host
    for output in ("table", "json", "prometheus", "influx"):
        outcome = goe("read", f"a={host}", "--api", api, "--format", output)
        if name not in ("texts", "values"):
            assert (outcome.status, outcome.out) == (1, "")
            assert outcome.err[:-1].isprintable()
            continue
        assert (outcome.status, outcome.err) == (0, "")
        lines = outcome.out.split("\n")[:-1]
        if output == "influx":
            assert len(lines) == 1
        elif output == "prometheus":
            harmless = goe("read", f"a={good.host}", "--api", api, "--format", output).out
            names = {re.split(r"[{ ]", line)[0] for line in harmless.split("\n") if line[:1] != "#"}
            names.add("goe_decode_failures_total")
            assert {re.split(r"[{ ]", line)[0] for line in lines if line[0] != "#"} <= names
        else:
            assert all(line.isprintable() for line in lines)
        if output == "table":
            assert all(line[0] in " ─" or re.match(r"[a-z]", line) for line in lines if line)
            assert not any(line.startswith(("time=", "event=", "goe_")) for line in lines)


@pytest.mark.parametrize("name", CHARGERS)
def test_set(goe: Goe, fakes: Fakes, name: str) -> None:
    """A refusal is one printable line."""

    def rule(request: Received) -> Reply:
        return CHARGERS[name](request) if request.path == "/api/set" else Reply(200, good)

    good = json.dumps(V2).encode()
    outcome = goe("set", fakes(rule).host, "max-current", "10")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err[:-1].isprintable()


def test_dead_letters(goe: Goe, tmp_path: Path, fakes: Fakes) -> None:
    """A server's message in the list of rejected lines is one printable line."""
    from goe_exporter.influx.dead_letters import DeadLetters

    letters = DeadLetters(tmp_path / "spool" / "dead", 1024**2)
    letters.put(HOSTILE.encode("utf-8", "replace"), HOSTILE)
    letters.close()
    config = push_config(tmp_path, fakes(says(500, "")).url, {"a": "b"})
    outcome = goe("spool", "dead", "--config", str(config))
    assert (outcome.status, outcome.err) == (0, "")
    lines = outcome.out.split("\n")
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)
