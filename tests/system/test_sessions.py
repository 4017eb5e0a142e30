"""A running exporter tracks the sessions of its chargers, and other processes read them."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from commands import Launch
from exporters import LISTEN, Exporter
from servers import wait_for

from goe_exporter.errors import UsageError
from goe_exporter.sessions.records import Records
from goe_exporter.sessions.session import Book, Session
from goe_exporter.simulator import Car, Charger, Simulator


def configuration(folder: Path, address: str) -> Path:
    """Write a configuration with a session store, and return its file."""
    file = folder / "goe.yaml"
    file.write_text(
        "refresh_interval: 1s\n"
        f"chargers: [{{name: garage, host: '{address}'}}]\n"
        f"sessions: {{store: {folder / 'sessions.db'}, time_zone: Europe/Berlin, web: true}}\n"
        "cards: {1: Anna}\n"
    )
    return file


def stored(path: Path) -> tuple[list[Session], list[Book]]:
    """Return the closed sessions and the books; nothing before the store exists."""
    try:
        with Records(path) as records:
            return list(records.sessions()), list(records.books())
    except UsageError:
        return [], []


def test_session_of_a_running_exporter(launch: Launch, tmp_path: Path) -> None:
    """A session is in the store when the car has left, and its books close."""
    path = tmp_path / "sessions.db"
    charger = Charger("V4", serial="218042")
    with Simulator(speed=20) as simulator:
        box = simulator.add(charger)
        file = configuration(tmp_path, box.address)
        exporter = Exporter(launch("serve", "--config.file", str(file), *LISTEN))
        wait_for(lambda: stored(path)[1], "the first poll")
        with box.lock:
            box.catch_up()
            charger.plug(Car(wait_s=5))
        wait_for(lambda: stored(path)[1][0].under_way, "the session under way")
        wait_for(lambda: charger.energy_wh > 300, "energy")
        with box.lock:
            box.catch_up()
            charger.unplug()
        wait_for(lambda: stored(path)[0], "the session")
        shown = json.loads(exporter.get("api/v1/sessions"))["sessions"]
        assert "Latest sessions" in exporter.get("sessions")
        assert exporter.command.end(signal.SIGTERM).status == 0
    ((session,), (book,)) = stored(path)
    assert (session.charger, session.serial, session.api) == ("garage", "218042", 2)
    assert session.energy_wh == int(charger.energy_wh) == book.last_wh - book.first_wh
    assert book.under_way is None
    assert [each["id"] for each in shown] == [session.id]
    assert set(session.flags) <= {"clock_unsure"}


def test_store_that_is_in_use(launch: Launch, tmp_path: Path) -> None:
    """A second exporter with the same store ends with one line."""
    with Simulator() as simulator:
        box = simulator.add(Charger("V4"))
        arguments = ("serve", "--config.file", str(configuration(tmp_path, box.address)), *LISTEN)
        launch(*arguments).line("event=started")
        outcome = launch(*arguments).end()
    assert outcome.status == 2
    assert "is in use by another process; give each its own" in outcome.err
    assert "Traceback" not in outcome.err
