"""The live page as HTML: its templates and static files. Only this module imports Jinja2."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import NamedTuple

from jinja2 import Environment, FunctionLoader, StrictUndefined

from goe_exporter import __version__
from goe_exporter.control.vitals import SurplusVitals
from goe_exporter.polling.view import ChargerView
from goe_exporter.web.house import house
from goe_exporter.web.locale import Locale
from goe_exporter.web.overview import ALL_CHARGERS, Selection
from goe_exporter.web.overview import overview as overview_model
from goe_exporter.web.report import Contents, Report
from goe_exporter.web.session_page import SessionsPage
from goe_exporter.web.session_selection import PATH
from goe_exporter.web.session_selection import Selection as SelectedSessions
from goe_exporter.web.surplus import surplus_line
from goe_exporter.web.view_model import SENSORS, view_model

CONTENT_TYPES = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "chart.js": "text/javascript; charset=utf-8",
    "overview.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""The static files that the pages refer to."""

METRICS = "metrics"
MIN_DUE_SECONDS = 0.2
MAX_DUE_SECONDS = 60.0


@dataclass(frozen=True)
class Asset:
    """A static file of the page; `path` contains its version, so clients may cache it forever."""

    name: str
    content_type: str
    body: bytes

    @cached_property
    def version(self) -> str:
        """A digest of the content."""
        return hashlib.blake2b(self.body, digest_size=6).hexdigest()

    @property
    def path(self) -> str:
        """The path relative to the root of the exporter."""
        return f"assets/{self.name}?v={self.version}"


@cache
def assets() -> Mapping[str, Asset]:
    """Return the static files by name."""
    return {name: Asset(name, kind, _file("static", name)) for name, kind in CONTENT_TYPES.items()}


def overview(
    views: Sequence[ChargerView],
    locale: Locale,
    selection: Selection = ALL_CHARGERS,
    metrics: str = METRICS,
    houses: Sequence[ChargerView] = (),
    *,
    sessions: bool = False,
) -> str:
    """Return the page with a summary and one row per selected charger.

    `metrics` is the path of the metrics from the root of the exporter; `houses` are Controllers.
    With `sessions`, the page links to that of charging sessions.
    """
    title = f"{locale.text('label.chargers')} – goe-exporter"
    shown = overview_model(views, locale, selection)
    return _render(
        "overview",
        locale,
        "",
        title,
        [*views, *houses],
        houses=[house(each, locale) for each in houses],
        chargers=len(views),
        overview=shown,
        metrics=metrics,
        sessions=PATH if sessions else "",
    )


def charger(
    view: ChargerView,
    locale: Locale,
    *,
    root: str,
    several: bool,
    metrics: str = METRICS,
    surplus: SurplusVitals | None = None,
    houses: Sequence[ChargerView] = (),
    sessions: bool = False,
) -> str:
    """Return the page of one charger; `root` is the relative URL of the exporter's root.

    `surplus` is what controls the charger, None if nothing does. With `sessions`, the page links to
    those of the charger.
    """
    shown = view_model(view, locale)
    state = f"{shown.state}, {shown.power.text}" if shown.power.unit else shown.state
    title = f"{state} – {shown.name}"
    return _render(
        "charger",
        locale,
        root,
        title,
        [view],
        charger=shown,
        houses=[house(each, locale) for each in houses],
        several=several,
        charts=_charts(locale),
        surplus=surplus_line(surplus, locale) if surplus is not None else "",
        metrics=metrics,
        sessions=SelectedSessions(charger=view.name if several else "").url if sessions else "",
    )


def missing(locale: Locale, metrics: str = METRICS) -> str:
    """Return the page for a charger that does not exist."""
    title = locale.text("page.not_found")
    return _render("missing", locale, "../", title, [], metrics=metrics, sessions="")


def sessions(page: SessionsPage, locale: Locale, metrics: str = METRICS) -> str:
    """Return the page of charging sessions."""
    title = f"{locale.text('sessions.title')} – goe-exporter"
    return _render("sessions", locale, "", title, [], page=page, metrics=metrics, sessions=PATH)


def no_sessions(reason: str, locale: Locale, root: str, metrics: str = METRICS) -> str:
    """Return the page that says why sessions cannot be shown."""
    title = locale.text("sessions.title")
    return _render(
        "no_sessions", locale, root, title, [], reason=reason, metrics=metrics, sessions=PATH
    )


def report(contents: Contents, locale: Locale) -> str:
    """Return the monthly report of charging sessions, a page without other files."""
    return (
        _environment()
        .get_template("report.html")
        .render(
            locale=locale,
            text=locale.text,
            version=__version__,
            report=Report(contents, locale, __version__),
        )
    )


def fingerprint(
    views: Sequence[ChargerView],
    locale: Locale,
    selection: Selection = ALL_CHARGERS,
    surplus: SurplusVitals | None = None,
) -> str:
    """Return an entity tag that changes whenever the page content changes; ages are ignored."""
    known = [
        (view.name, view.stats.up, view.stats.polls, view.age is None, view.snapshot is None)
        for view in views
    ]
    line = surplus_line(surplus, locale) if surplus is not None else ""
    text = repr((_process(), locale.tag, selection, known, line))
    return f'W/"{hashlib.blake2b(text.encode(errors="replace"), digest_size=9).hexdigest()}"'


@cache
def _process() -> str:
    """Return a token of this run of the exporter: polls count from 0 in every run."""
    return secrets.token_hex(8)


def due_seconds(views: Sequence[ChargerView]) -> float:
    """Return the seconds until the page should be fetched again: when the next poll is due.

    A page of several chargers is fetched once per shortest refresh interval.
    """
    due = shortest_interval(views)
    if len(views) == 1:
        view = views[0]
        due = due - view.age if view.stats.up and view.age is not None else 1.0
    return min(max(due, MIN_DUE_SECONDS), MAX_DUE_SECONDS)


def shortest_interval(views: Sequence[ChargerView]) -> float:
    """Return the shortest refresh interval in seconds."""
    return min((view.interval_seconds for view in views), default=MAX_DUE_SECONDS)


class _Line(NamedTuple):
    """A line of a chart: the channel and part in the history, its label and its colour."""

    channel: str
    part: str
    label: str
    colour: str


class _Chart(NamedTuple):
    """A chart; values are divided by `divide`, and the value axis spans at least `min_span`.

    `height` is in em.
    """

    label: str
    unit: str
    divide: int
    decimals: int
    min_span: float
    height: float
    lines: tuple[_Line, ...]


def _charts(locale: Locale) -> tuple[_Chart, ...]:
    text = locale.text
    phases = ("L1", "L2", "L3")
    powers = (
        _Line("power", "", text("chart.total"), "total"),
        *(_Line("phase_power", part, part, part) for part in phases),
    )
    currents = tuple(_Line("phase_current", part, part, part) for part in phases)
    sensors = tuple(
        _Line("temperature", sensor, text(f"sensor.{sensor}"), f"t{number}")
        for number, sensor in enumerate(SENSORS, 1)
    )
    return (
        _Chart(text("chart.power"), "kW", 1000, 2, 1, 20, powers),
        _Chart(text("chart.current"), "A", 1, 1, 6, 14, currents),
        _Chart(text("chart.temperature"), "°C", 1, 1, 10, 12, sensors),
    )


def _render(
    name: str,
    locale: Locale,
    root: str,
    title: str,
    views: Sequence[ChargerView],
    **more: object,
) -> str:
    return (
        _environment()
        .get_template(f"{name}.html")
        .render(
            locale=locale,
            text=locale.text,
            root=root,
            title=title,
            version=__version__,
            edition=_edition(name, locale),
            assets=assets(),
            interval=shortest_interval(views),
            due=f"{due_seconds(views):.1f}",
            **more,
        )
    )


def _edition(name: str, locale: Locale) -> str:
    """Return what changes only by loading the page again: its kind, locale and static files."""
    versions = (asset.version for asset in assets().values())
    return " ".join((name, locale.tag, __version__, *versions))


@cache
def _environment() -> Environment:
    loader = FunctionLoader(lambda name: _file("templates", name).decode())
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _file(folder: str, name: str) -> bytes:
    return (resources.files("goe_exporter.web") / folder / name).read_bytes()
