"""How many calls a refresh cycle and a scrape take, against what is recorded: a clock would lie.

Counted are the calls of the project's own functions and those that these make into C, so that
neither the machine nor a library's version counts; `pytest --update-golden` records them anew.
"""

from __future__ import annotations

import json
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
from goe_exporter.prometheus import exposition
from goe_exporter.prometheus.exposition import render_readings

RECORDED = GOLDEN / "operations.json"
OURS = str(Path(goe_exporter.__file__).parent)
MARGIN = 1.08
"""What versions of Python may differ in; a call for each of a cycle's 64 readings is far more."""

FIXTURE = "v2_v3_charging_three_phases"

CHARGERS = ("left", "middle", "right", "yard")

Counts = Counter[str]


def calls(work: Callable[[], object]) -> Counts:
    """Count the calls of our functions, and those into C by whom of ours makes them."""
    counted: Counts = Counter()

    def count(frame: FrameType, event: str, called: object) -> None:
        code = frame.f_code
        if event in {"call", "c_call"} and code.co_filename.startswith(OURS):
            name = f"{Path(code.co_filename).stem}.{code.co_qualname}"
            into_c = f" calls {getattr(called, '__name__', called)}"
            counted[name if event == "call" else name + into_c] += 1

    work()  # what is made once is made now
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return counted


def grown(before: Counts, now: Counts) -> str:
    """Return what there is more of, the most first, a line each."""
    more = sorted(((now[name] - before[name], name) for name in now), reverse=True)
    return "\n".join(f"  {before[name]} → {now[name]}  {name}" for much, name in more if much > 0)


def check(name: str, counted: Counts, update: bool) -> None:
    """Compare with what is recorded under a name, or record it."""
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
    """A client that always gives the same answer."""

    def status(self, _keys: tuple[str, ...]) -> Answer:
        return Answer(2, dict(status_of(FIXTURE)))


def test_refresh_cycle(update_golden: bool) -> None:
    """Decoding an answer and keeping the snapshot."""
    poller = Poller("garage", "192.0.2.7", Canned())
    check("refresh cycle", calls(poller.poll), update_golden)


def test_request(speak: Callable[..., Speaker], update_golden: bool) -> None:
    """Asking a charger and parsing what it says."""
    body = json.dumps(status_of(FIXTURE)).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    client = Client(speak(head.encode() + body).address)
    keys = keys_of(channel for channel in CHANNELS if not channel.slow)
    check("request", calls(lambda: client.status(keys)), update_golden)


def test_render(update_golden: bool) -> None:
    """Rendering chargers for a scrape."""
    shown = [view(FIXTURE, name) for name in CHARGERS]
    check("render", calls(lambda: render_readings(shown)), update_golden)


def test_a_call_for_each_reading_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The margin is narrow enough for one more call a reading, and the message names it."""
    number = exposition.number
    code = compile("def checked(value): return number(value)", f"{OURS}/prometheus.py", "exec")
    names: dict[str, Callable[[float], str]] = {"number": number}
    exec(code, names)
    monkeypatch.setattr(exposition, "number", names["checked"])
    shown = [view(FIXTURE, name) for name in CHARGERS]
    with pytest.raises(
        AssertionError, match=r"(?s)render: .*0 → \d+  prometheus\.checked\n.*golden"
    ):
        check("render", calls(lambda: render_readings(shown)), update=False)
