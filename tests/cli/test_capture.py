"""`goe-exporter capture`: a complete status without private values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from goe_exporter import __version__
from goe_exporter.simulator import Charger, Controller, House, Simulator

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Goe
    from speaker import Speak


def captured(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    assert found["goe_exporter"] == __version__
    return found


@pytest.mark.parametrize("model", ["V2", "V3", "V4", "PRO"])
def test_a_capture(goe: Goe, standing_still: Simulator, model: str) -> None:
    """A capture has all keys of every API, without names, networks and serial number."""
    charger = Charger(model, name="Anna's box", serial="218042")
    box = standing_still.add(charger)
    outcome = goe("capture", f"garage={box.address}")
    assert (outcome.status, outcome.err) == (0, "")
    v2, v1 = captured(outcome.out)["answers"]
    assert (v1["api"], v1["request"], v1["http_status"]) == (1, "/status", 200)
    assert v1["status"]["amp"] == "16"
    assert v1["status"]["sse"] == "[removed: text]"
    assert "wke: text" in v1["removed"]
    assert (v2["api"], v2["request"]) == (2, "/api/status")
    if model == "V2":
        assert v2 == {
            "api": 2,
            "request": "/api/status",
            "http_status": 404,
            "failure": "HTTP status 404",
        }
    else:
        assert v2["http_status"] == (400 if model == "PRO" else 200)
        assert len(v2["status"]) > 150
        assert v2["status"]["amp"] == 16
        assert v2["status"]["fna"] == "[removed: text]"
        assert {"fna: text", "sse: text", "wifis: list", "mcu: text"} <= set(v2["removed"])
    private = (
        "Anna",
        "218042",
        "garage",
        "home",
        "neighbour",
        "mqtt.",
        "192.0.2",
        "127.0.0",
        "://",
    )
    for word in (*private, box.address):
        assert word not in outcome.out
    assert [target for _time, target in box.log] == ["/api/status", "/status"]


def test_a_controller(goe: Goe, standing_still: Simulator) -> None:
    """A capture of a Controller has its numbers, without the names in its house."""
    controller = Controller(House("sunny", start_s=12 * 3600), serial="654321", name="Anna's")
    controller.category_names[15] = "Flat of Bert"
    box = standing_still.add_controller(controller)
    outcome = goe("capture", box.address)
    assert (outcome.status, outcome.err) == (0, "")
    v2, v1 = captured(outcome.out)["answers"]
    assert v1["failure"] == "HTTP status 404"
    assert (v2["status"]["typ"], v2["status"]["ccp"][3]) == ("controller", None)
    assert {"sse: text", "fna: text", "host: text", "ccn: list"} <= set(v2["removed"])
    for word in ("Anna", "Bert", "654321"):
        assert word not in outcome.out


def test_a_file(goe: Goe, standing_still: Simulator, tmp_path: Path) -> None:
    """`--output` writes a file, and prints what was removed."""
    box = standing_still.add(Charger("V3"))
    path = tmp_path / "capture.json"
    outcome = goe("capture", box.address, "--output", str(path), "--api", "2")
    assert (outcome.status, outcome.err) == (0, "")
    first, last = outcome.out.splitlines()
    (answer,) = captured(path.read_text("utf-8"))["answers"]
    assert first == f"API v2: {len(answer['status'])} keys; removed: {', '.join(answer['removed'])}"
    assert last == f"Read {path} before you share it."
    assert [target for _time, target in box.log] == ["/api/status"]
    old = standing_still.add(Charger("V2"))
    outcome = goe("capture", old.address, "--output", str(path))
    assert outcome.out.startswith("API v2: HTTP status 404\nAPI v1: ")
    missing = tmp_path / "missing" / "capture.json"
    outcome = goe("capture", box.address, "--output", str(missing))
    message = f"cannot write {missing}: No such file or directory"
    assert outcome == (2, "", f"goe-exporter: {message}\n")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"error":"not authenticated"}', "not the status of a charger or Controller"),
        (b"[1]", "not the status of a charger or Controller"),
        (b"{}", "not the status of a charger or Controller"),
        (b"<html>Anna</html>", "not JSON"),
        (b'{"car":' + b"[" * 5000, "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"", "not JSON"),
    ],
)
def test_another_device(goe: Goe, speak: Speak, body: bytes, reason: str) -> None:
    """Without a charger's status there is no capture: exit 1, with the reason for each API."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    speaker = speak(head + body)
    outcome = goe("capture", speaker.address)
    assert (outcome.status, outcome.out) == (1, "")
    reasons = f"API v2: {reason}, API v1: {reason}"
    assert outcome.err == f"goe-exporter: {speaker.address}: no status to capture ({reasons})\n"


def test_unusual_json(goe: Goe, speak: Speak) -> None:
    """A byte order mark, a huge number and an infinite one do not spoil a capture."""
    body = b'\xef\xbb\xbf{"car":2,"amp":%s,"fhz":1e999,"tpa":NaN}' % (b"9" * 5000)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    outcome = goe("capture", speak(head + body).address, "--api", "2")
    assert outcome.status == 0
    (answer,) = captured(outcome.out)["answers"]
    assert answer["status"] == {
        "car": 2,
        "amp": "[removed: text]",
        "fhz": "[removed: number]",
        "tpa": "[removed: number]",
    }


def test_a_charger_that_is_off(goe: Goe, standing_still: Simulator) -> None:
    """A charger that does not answer is exit 1 and one line."""
    box = standing_still.add(Charger("V3"))
    box.close()
    outcome = goe("capture", box.address)
    assert (outcome.status, outcome.out) == (1, "")
    reasons = "API v2: refused, API v1: refused"
    assert outcome.err == f"goe-exporter: {box.address}: no status to capture ({reasons})\n"
