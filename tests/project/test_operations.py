"""Function calls of a poll and of a scrape, against recorded numbers instead of a clock.

Only calls of the project's own functions, and those that they make into C, are counted, so that
neither the machine nor a library's version matters; `pytest --update-golden` records them anew.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import pytest
from exposed import status_of, view
from paths import GOLDEN
from speaker import Speaker

import goe_exporter
from goe_exporter.channels.snapshot import Answer
from goe_exporter.channels.table import CHANNELS
from goe_exporter.charger.client import Client
from goe_exporter.polling.poller import Poller
from goe_exporter.polling.slow_rows import keys_of
from goe_exporter.prometheus import prepared
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.transport.loop import Loop

RECORDED = GOLDEN / "operations.json"
OURS = str(Path(goe_exporter.__file__).parent)
MARGIN = 1.08
"""Difference between Python versions; a call for each of the 64 readings of a poll is far more."""

FIXTURE = "v2_v3_charging_three_phases"

CHARGERS = ("left", "middle", "right", "yard")

Counts = Counter[str]


def calls(work: Callable[[], object]) -> Counts:
    """Count the calls of the project's functions, and their calls into C by caller."""
    counted: Counts = Counter()

    def count(frame: FrameType, event: str, called: object) -> None:
        code = frame.f_code
        if event in {"call", "c_call"} and code.co_filename.startswith(OURS):
            name = f"{Path(code.co_filename).stem}.{code.co_qualname}"
            into_c = f" calls {getattr(called, '__name__', called)}"
            counted[name if event == "call" else name + into_c] += 1

    work()  # what is created once is created now
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


def grown(before: Counts, now: Counts) -> str:
    """Return the additional calls, the most first, one per line."""
    more = sorted(((now[name] - before[name], name) for name in now), reverse=True)
    return "\n".join(f"  {before[name]} → {now[name]}  {name}" for much, name in more if much > 0)


def check(name: str, counted: Counts, update: bool) -> None:
    """Compare with the numbers recorded under a name, or record them."""
    everything = json.loads(RECORDED.read_text("utf-8"))
    if update:
        everything[name] = dict(sorted(counted.items()))
        RECORDED.write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n", "utf-8")
    before = Counter(everything[name])
    assert counted.total() <= MARGIN * before.total(), (
        f"{name}: {before.total()} calls became {counted.total()}; what grew:\n"
        f"{grown(before, counted)}\n"
        "If it has to be, `pytest --update-golden tests/project/test_operations.py` records it."
    )


class Canned:
    """A client that always returns the same status."""

    def status(self, _keys: tuple[str, ...]) -> Answer:
        return Answer(2, dict(status_of(FIXTURE)))


def test_poll(update_golden: bool) -> None:
    """Calls of decoding a status and keeping the snapshot."""
    poller = Poller("garage", "192.0.2.7", Canned())
    check("poll", calls(poller.poll), update_golden)


def test_request(speak: Callable[..., Speaker], update_golden: bool) -> None:
    """Calls of a request to a charger and of parsing its response."""
    body = json.dumps(status_of(FIXTURE)).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    client = Client(speak(head.encode() + body).address)
    keys = keys_of(channel for channel in CHANNELS if not channel.slow)
    check("request", calls(lambda: client.status(keys)), update_golden)


def test_request_in_the_loop(speak: Callable[..., Speaker], update_golden: bool) -> None:
    """Calls of the same in the polling loop, which makes nearly all requests of a fleet."""
    body = json.dumps(status_of(FIXTURE)).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    client = Client(speak(head.encode() + body).address)
    keys = keys_of(channel for channel in CHANNELS if not channel.slow)
    loop = Loop()

    def status() -> None:
        found: list[object] = []
        exchange = client.begin(keys)
        assert exchange is not None
        loop.run(exchange, lambda *result: found.append(result))
        while not found:
            loop.turn(math.inf)

    counted = calls(status)
    loop.close()
    # How many turns it takes depends on the other side.
    turns = {"loop.Loop.turn", "loop.Loop._wait"}
    for name in list(counted):
        if name.split(" ")[0] in turns:
            del counted[name]
    check("request in the loop", counted, update_golden)


def rendering() -> Counts:
    """Return the calls of a rendering of chargers whose lines are prepared."""
    shown = [view(FIXTURE, name) for name in CHARGERS]
    endpoint = Exposition(lambda: shown)
    endpoint.render()
    return calls(endpoint.render)


def test_render(update_golden: bool) -> None:
    """Calls of rendering chargers for a scrape."""
    check("render", rendering(), update_golden)


def test_a_further_call_per_reading_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The margin is below one more call per reading, and the message names it."""
    code = compile("def checked(reading): return label(reading)", f"{OURS}/prometheus.py", "exec")
    names: dict[str, Callable[[object], object]] = {"label": prepared._LABEL}
    exec(code, names)
    monkeypatch.setattr(prepared, "_LABEL", names["checked"])
    with pytest.raises(
        AssertionError, match=r"(?s)render: .*0 → \d+  prometheus\.checked\n.*golden"
    ):
        check("render", rendering(), update=False)
