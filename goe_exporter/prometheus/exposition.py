"""The exposition: snapshots and the families of providers → Prometheus text.

Built anew for every scrape; no value is kept between scrapes. What a reading lacks has no sample;
a charger without a snapshot has its poll statistics only.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import chain

from goe_exporter.channels.model import Table
from goe_exporter.polling.view import ChargerView
from goe_exporter.prometheus.families import Family, Provider
from goe_exporter.prometheus.negotiation import negotiated
from goe_exporter.prometheus.prepared import Lines, Prepared, heads
from goe_exporter.prometheus.text_format import TEXT, Format, number, series

MAX_WAIT_SECONDS = 2.0
"""Time that a rendering waits for polls, all in all."""

WAIT_SECONDS = 0.001


class Exposition:
    """The content of `/metrics`: the chargers that `views` returns, and the providers' families.

    Rendering thousands of chargers takes a second or two. It waits between them while `busy` is
    True, because the interpreter runs one thread at a time, and polls come first.
    """

    def __init__(
        self,
        views: Callable[[], Sequence[ChargerView]],
        providers: Iterable[Provider] = (),
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._busy = busy
        self._views = views
        self._providers = tuple(providers)
        self._prepared: dict[str, Prepared] = {}

    def render(self, accept: str = "", *, chargers: bool = True) -> tuple[bytes, str]:
        """Return the body and its content type: OpenMetrics if `accept` asks for it, else text.

        Without `chargers`, it has the families of the providers alone.
        """
        form = negotiated(accept)
        parts = chain(
            self._all_chargers(form) if chargers else (),
            (_written(form, family) for provider in self._providers for family in provider()),
        )
        return _body(form, parts), form.content_type

    def _all_chargers(self, form: Format) -> Iterator[str]:
        views, kept = self._views(), self._prepared
        prepared = {view.name: _prepared(view, kept.get(view.name)) for view in views}
        self._prepared = prepared
        deadline = time.monotonic() + MAX_WAIT_SECONDS

        def wait() -> None:
            while self._busy() and time.monotonic() < deadline:
                time.sleep(WAIT_SECONDS)

        return _chargers(form, views, prepared, wait)

    def render_charger(self, view: ChargerView, accept: str = "") -> tuple[bytes, str]:
        """Return the families of one charger, and their content type.

        Unlike in `render`, `goe_charger_info` has no empty labels for those of other chargers.
        """
        form = negotiated(accept)
        kept = self._prepared
        prepared = kept[view.name] = _prepared(view, kept.get(view.name))
        parts = _chargers(form, (view,), {view.name: prepared})
        return _body(form, parts), form.content_type


def render_readings(views: Iterable[ChargerView]) -> str:
    """Return the chargers' families alone, in the text format."""
    views = tuple(views)
    return "".join(_chargers(TEXT, views, {view.name: _prepared(view) for view in views}))


def _prepared(view: ChargerView, kept: Prepared | None = None) -> Prepared:
    """Return the kept lines of a device, or new ones if it is of another kind now."""
    return kept if kept and kept.table is view.table else Prepared(view.name, view.table)


def _body(form: Format, parts: Iterable[str]) -> bytes:
    """Return the body of an answer.

    Written part by part: the memory of a whole text, for which the system has to clear pages, costs
    as much as a third of the rendering.
    """
    body = BytesIO()
    for part in parts:
        body.write(part.encode())
    body.write(form.end.encode())
    return body.getvalue()


def _written(form: Format, family: Family) -> str:
    """Return the text of a provider's family."""
    lines = (f"{series(name, labels)} {number(value)}\n" for name, labels, value in family.samples)
    return form.head(family.name, family.kind, family.help) + "".join(lines)


def _chargers(
    form: Format,
    views: Sequence[ChargerView],
    prepared: Mapping[str, Prepared],
    wait: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """Yield the text of each family of the chargers; `wait` before each charger."""
    lines: Lines = defaultdict(list)
    for view in views:
        wait()
        prepared[view.name].add_stats(lines, view.stats, view.snapshot_age)
    for view in views:
        wait()
        prepared[view.name].add_readings(lines, view)
    for table in dict.fromkeys(view.table for view in views):
        _add_labels(lines, table, [view for view in views if view.table is table])
    for family, samples in lines.items():
        yield "".join((form.head(family.name, family.kind, family.help), *samples))


def _add_labels(lines: Lines, table: Table, views: Sequence[ChargerView]) -> None:
    """Add a sample for each device, with the label names of all of them, if there are any."""
    head = heads(table).labels
    names = dict.fromkeys((name for view in views for name in view.labels), "")
    if names:
        for view in views:
            labels = {table.device: view.name, **names, **view.labels}
            lines[head].append(f"{series(head.name, labels)} 1.0\n")
