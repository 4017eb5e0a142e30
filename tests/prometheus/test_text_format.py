"""The text formats: byte for byte as prometheus_client writes them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from threading import Thread

import pytest
from by_library import encoded, families, provided
from examples import examples
from exposed import FIXTURES, INFLUX, OPENMETRICS, down, view
from hostile import ANY_JSON, TEXTS
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Snapshot
from goe_exporter.channels.table import CHANNELS
from goe_exporter.errors import REASONS
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.prometheus.exposition import Exposition, render_readings
from goe_exporter.prometheus.families import Family, Sample
from goe_exporter.prometheus.process import process_metrics
from goe_exporter.prometheus.text_format import number
from goe_exporter.service.self_metrics import Parts, Reload, providers

KEYS = sorted({key for row in CHANNELS for key in row.key.split()})
SPELLABLE = st.text(max_size=20) | st.sampled_from(
    [text for text in TEXTS if "\ud83d" not in text and "\udc00" not in text]
)
COUNTS = st.integers(0, 10**17)
TIMES = st.none() | st.floats(allow_nan=False, allow_infinity=False)

VITALS = st.builds(
    PollStats,
    up=st.none() | st.booleans(),
    polls=COUNTS,
    failures=st.dictionaries(st.sampled_from(REASONS), COUNTS, max_size=3),
    decode_failures=st.dictionaries(st.sampled_from(KEYS), COUNTS, max_size=3),
    last_success=TIMES,
    last_duration=TIMES,
)
STATUSES = st.dictionaries(
    st.sampled_from(KEYS), ANY_JSON | st.lists(st.floats(-50, 500), min_size=16), max_size=12
)


@st.composite
def any_view(draw: st.DrawFn) -> ChargerView:
    """Return a charger with any name and any answer, or none."""
    name, api = draw(SPELLABLE), draw(st.sampled_from([1, 2]))
    snapshot = Snapshot(name, api, 1.7e9, 50.0, decode(draw(STATUSES), api).readings)
    shown = draw(st.none() | st.just(snapshot))
    return ChargerView(name, "192.0.2.1", draw(VITALS), shown, None)


def mended(text: str) -> str:
    """Return the library's text; versions before 0.26 write 1.8e+11 as 1.8e+011."""
    return re.sub(r"(?<=e\+)0(?=[0-9]{2}$)", "", text, flags=re.MULTILINE)


def endpoint(views: Iterable[ChargerView]) -> tuple[Exposition, list[Metric]]:
    """Return an endpoint with fixed process metrics, and the same families for the library."""
    views = tuple(views)
    scheduler = Scheduler(())
    scheduler.duration.observe(0.02)
    scheduler.lateness.observe(2e7)
    reload = Reload(successful=True, last_success=1.7e9)
    own = providers(Parts(scheduler, lambda: reload, lambda: INFLUX))
    process = tuple(process_metrics()())
    own.append(lambda: process)
    return Exposition(lambda: views, own), [*families(views), *provided(own)]


def check(views: Iterable[ChargerView]) -> None:
    """Check the whole endpoint, in both formats, against the library."""
    exposition, metrics = endpoint(views)
    for accept in ("", OPENMETRICS):
        assert exposition.render(accept)[0].decode() == mended(encoded(metrics, accept))


# Whole outputs


@pytest.mark.parametrize("fixture", FIXTURES)
def test_fixture(fixture: str) -> None:
    """The exposition of each fixture equals the library's."""
    check([view(fixture)])
    assert render_readings([view(fixture)]) == mended(encoded(families([view(fixture)])))


@pytest.mark.parametrize("name", ["100 %", "%s", "%(name)s", "left,\nright", "{0}"])
def test_names_like_placeholders(name: str) -> None:
    """A charger's name is never taken for a part of the prepared text."""
    check([view("v2_evil", name)])


def test_fleets() -> None:
    """Several different chargers, dead ones included, and none, equal the library's text."""
    several = [down("z"), *(view(fixture, f"{fixture} 🚗") for fixture in FIXTURES), down("a")]
    check(several)
    check(several[::-1])
    check([])


@examples(150)
@given(st.lists(any_view(), max_size=3))
def test_any_fleet(views: list[ChargerView]) -> None:
    """Any answers of chargers with any names equal the library's text."""
    check(views)


def test_a_family_is_headed_by_escaped_help() -> None:
    """Quotes, backslashes and newlines in HELP are escaped as each format requires."""
    labels = {"b": '"\\\n', "a": "é"}
    odd = Family(
        "goe_odd", 'say "hi"\\n\nand so on', "gauge", [Sample("goe_odd", labels, float("nan"))]
    )
    exposition = Exposition(tuple, [lambda: [odd]])
    for accept in ("", OPENMETRICS):
        shown = exposition.render(accept)[0].decode()
        assert shown == encoded(provided([lambda: [odd]]), accept)


def test_scrapes_in_parallel() -> None:
    """Concurrent scrapes do not mix."""
    exposition, metrics = endpoint(view(fixture, fixture) for fixture in FIXTURES)
    bodies: list[str] = []

    def scrape(accept: str) -> None:
        bodies.extend(exposition.render(accept)[0].decode() for _scrape in range(5))

    threads = [Thread(target=scrape, args=(accept,)) for accept in ("", OPENMETRICS) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(bodies)) == sorted(
        mended(encoded(metrics, accept)) for accept in ("", OPENMETRICS)
    )
    assert len(bodies) == 20


def test_nothing_of_a_charger_is_kept() -> None:
    """A new answer replaces the old one completely."""
    first, second = view("v2_v4_one_phase_noise"), view("v2_evil")
    assert second.snapshot is not None
    snapshot = second.snapshot._replace(charger="garage")
    shown = [render_readings([each]) for each in (first, replace(second, snapshot=snapshot), first)]
    assert shown[0] == shown[2] != shown[1]


# Numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.0"),
        (-0.0, "-0.0"),
        (True, "1.0"),
        (120, "120.0"),
        (230.15, "230.15"),
        (999_999.5, "999999.5"),
        (1_000_000, "1e+06"),
        (1_234_567.5, "1.2345675e+06"),
        (-1_234_567.5, "-1234567.5"),
        (10**10, "1e+10"),
        (180_000_000_000.0, "1.8e+11"),
        (1e16, "1e+16"),
        (1.5e16, "1.5e+16"),
        (1e100, "1e+100"),
        (0.00001, "1e-05"),
        (float("inf"), "+Inf"),
        (float("-inf"), "-Inf"),
        (float("nan"), "NaN"),
    ],
)
def test_number(value: float, text: str) -> None:
    """Numbers of any size are written as Go writes them."""
    assert number(value) == text


@examples(300)
@given(st.floats() | st.integers(-(10**18), 10**18) | st.floats(1e5, 1e18))
@example(999_999.9999999999)
def test_any_number(value: float) -> None:
    """Any number equals the library's text."""
    family = Metric("x", "X.", "gauge")
    family.add_sample("x", {}, value)
    assert f"x {number(value)}\n" == mended(encoded([family])).splitlines(keepends=True)[2]


# What a scraper asks for


@pytest.mark.parametrize("escaping", ["", ";escaping=allow-utf-8", ";escaping=underscores"])
@pytest.mark.parametrize("wanted", ["text/plain;version=1.0.0", OPENMETRICS])
def test_escaping_leaves_our_names_alone(wanted: str, escaping: str) -> None:
    """Whatever escaping is requested, the exporter's names equal the library's."""
    exposition, metrics = endpoint([view("v2_evil"), down("b")])
    ours = exposition.render(wanted + escaping)[0].decode()
    assert ours == mended(encoded(metrics, wanted + escaping))


def test_values_leave_our_names_alone() -> None:
    """The escaping `values` does not change the exporter's names either."""
    exposition, metrics = endpoint([view("v2_evil")])
    wanted = "text/plain;version=1.0.0;escaping=values"
    assert exposition.render(wanted)[0].decode() == mended(encoded(metrics, wanted))
