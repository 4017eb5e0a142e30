"""The lines of one charger's series, prepared once: a scrape only adds the values.

Rendering dominates the CPU time of a scrape, and the text of a series rarely changes. Only text is
kept from one scrape to the next, never a value of a reading.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from operator import itemgetter
from typing import NamedTuple

from goe_exporter.channels.model import Channel, Kind, Table
from goe_exporter.channels.snapshot import Reading
from goe_exporter.errors import REASONS
from goe_exporter.polling.view import ChargerView, PollStats
from goe_exporter.prometheus.text_format import escaped, number, series


@dataclass(frozen=True, eq=False)
class Head:
    """The head of a family of the chargers; `name` is without a counter's `_total`.

    `device` is the label with the name of the charger, or of another device.
    """

    name: str
    help: str
    kind: str = "gauge"
    device: str = "charger"


class Heads(NamedTuple):
    """The heads of the families that all devices of a kind have."""

    up: Head
    last_success: Head
    snapshot_age: Head
    last_duration: Head
    polls: Head
    failures: Head
    decode_failures: Head
    labels: Head
    infos: Mapping[str, Head]


@cache
def heads(table: Table) -> Heads:
    """Return the heads for the devices of a table; the infos by what they describe."""
    noun = table.device.replace("controller", "Controller")

    def head(name: str, help_text: str, kind: str = "gauge") -> Head:
        return Head(f"{table.prefix}_{name}", help_text.format(noun), kind, table.device)

    measured = "Time since the values of the {}'s last answer were measured."
    return Heads(
        head("up", "Whether the last poll of the {} succeeded."),
        head("last_success_timestamp_seconds", "Unix time of the {}'s last answer."),
        head("snapshot_age_seconds", measured),
        head("poll_duration_seconds", "Duration of the last poll."),
        head("polls", "Polls of the {}.", "counter"),
        head("poll_failures", "Failed polls by reason.", "counter"),
        head("decode_failures", "Values that could not be decoded, by API v2 key.", "counter"),
        Head(
            f"{table.measurement}_info",
            f"Labels of the {noun} in the configuration.",
            device=table.device,
        ),
        {
            "": head("device_info", "Device identity, firmware and API version."),
            **{of: head(f"{of}_info", f"Names by {of}.") for of in info_labels(table) if of},
        },
    )


@cache
def info_labels(table: Table) -> Mapping[str, tuple[str, ...]]:
    """Return the labels that the table's texts give to each info; that of the device is ""."""
    texts = [row for row in table.channels if row.kind is Kind.TEXT]
    return {
        of: tuple(row.label for row in texts if row.of == of) for of in ("", *(r.of for r in texts))
    }


Lines = defaultdict[Head, list[str]]
"""The text of each family, in the order of the families' first samples."""

_NAME = "\0"
"""Placeholder for the charger's name in a prepared line; no other label contains it."""

_CHANNEL, _LABEL = itemgetter(0), itemgetter(1)
"""Return what the series of a reading depends on."""


MAX_STATES = 64
"""Maximum number of states of a charger whose lines are kept: unknown codes may be many."""

_BETWEEN = ",\n"
"""Separates the parts of a template: no line ends in a comma."""


_Layout = tuple[tuple[Channel, ...], tuple[str, ...]]
"""The channels and the labels of readings."""


class _Plan(NamedTuple):
    """How readings of this layout are written.

    `template` has the text of all parts, with placeholders for the charger's name and `%s` for each
    number. `families` holds the family of each; a part is lines of numbers, or empty for a state
    and, in the next part, its code. `states` holds the first of these parts and the place of each
    state among the readings. `numbers` holds the place and the factor of each number, `texts` the
    places of the texts, which are labels of the device.
    """

    layout: _Layout
    template: str
    families: list[Head]
    states: list[tuple[int, int]]
    numbers: list[tuple[int, float]]
    texts: list[int]


class Prepared:
    """The prepared lines of the charger, or of another device of `table`, with this name."""

    def __init__(self, name: str, table: Table) -> None:
        self.table = table
        self._charger = escaped(name)
        self._heads = heads(table)
        self._single = [(head, self._line(head)) for head in self._heads[:5]]
        self._failures: tuple[Mapping[str, int] | None, str] = (None, "")
        self._plan = _planned(((), ())), ""
        self._states: dict[Reading, tuple[str, str]] = {}
        self._infos: tuple[object, list[tuple[Head, str]]] = (None, [])

    def add_stats(self, lines: Lines, stats: PollStats, age: float | None) -> None:
        """Add the statistics of the charger's polls."""
        values = (stats.up, stats.last_success, age, stats.last_duration, stats.polls)
        for (head, line), value in zip(self._single, values, strict=True):
            if value is not None:
                lines[head].append(f"{line}{number(value)}\n")
        failures, text = self._failures
        if failures is not stats.failures:
            text = "".join(
                f"{self._line(self._heads.failures, 'reason', reason)}"
                f"{number(stats.failures.get(reason, 0))}\n"
                for reason in REASONS
            )
            self._failures = stats.failures, text
        lines[self._heads.failures].append(text)
        undecodable = self._heads.decode_failures
        for key, count in sorted(stats.decode_failures.items()):
            line = self._line(undecodable, "key", key)
            lines[undecodable].append(f"{line}{number(count)}\n")

    def add_readings(self, lines: Lines, view: ChargerView) -> None:
        """Add the readings, and the identity of the device that answered last.

        The identity stays while the device does not answer.
        """
        snapshot = view.snapshot
        readings = snapshot.readings if snapshot else ()
        plan, template = self._plan_of(readings)
        numbers = [
            # A call of `number` costs as much as the text of most numbers.
            amount
            if -1e6 < (amount := readings[place].value * factor) < 1e6  # type: ignore[operator]
            else number(amount)
            for place, factor in plan.numbers
        ]
        texts = (template % tuple(numbers)).split(_BETWEEN)
        known = self._states
        for part, place in plan.states:
            state = readings[place]
            texts[part : part + 2] = known.get(state) or self._state(state)
        for family, text in zip(plan.families, texts, strict=False):  # one text if no parts
            lines[family].append(text)
        api = snapshot.api if snapshot else view.api
        if api is None:
            return
        key = api, view.identity, [readings[place] for place in plan.texts]
        if self._infos[0] != key:
            self._infos = key, list(_info_lines(view, api))
        for head, line in self._infos[1]:
            lines[head].append(line)

    def _plan_of(self, readings: Sequence[Reading]) -> tuple[_Plan, str]:
        """Return the plan of these readings, and its template with the charger's name."""
        layout = tuple(map(_CHANNEL, readings)), tuple(map(_LABEL, readings))
        if layout != self._plan[0].layout:
            plan = _planned(layout)
            name = self._charger.replace("%", "%%")
            self._plan = plan, plan.template.replace(_NAME, name)
        return self._plan

    def _named(self, text: str) -> str:
        """Return a text with the charger's name in place of the placeholders."""
        return text.replace(_NAME, self._charger)

    def _line(self, family: Head, label: str = "", text: str = "") -> str:
        """Return a line of the charger up to its value."""
        return self._named(_line(family, label, text))

    def _state(self, state: Reading) -> tuple[str, str]:
        """Return the lines of a state, and that of its code."""
        channel, _label, present, number_of_state = state
        if len(self._states) >= MAX_STATES:
            self._states.clear()
        code = f"{self._line(_code(channel))}{number_of_state}.0\n"
        found = self._states[state] = self._named(_state_set(channel, str(present))), code
        return found


@lru_cache(64)
def _planned(layout: _Layout) -> _Plan:
    """Return the plan of a layout, which most chargers of a model have in common."""
    plan = _Plan(layout, "", [], [], [], [])
    texts: list[str] = []
    follows: Head | None = None
    for place, (channel, label) in enumerate(zip(*layout, strict=True)):
        if channel.kind is Kind.TEXT:
            plan.texts.append(place)
        elif channel.states is not None:
            plan.states.append((len(texts), place))
            plan.families.extend((_family(channel), _code(channel)))
            texts.extend(("", ""))
            follows = None
        else:
            family = _family(channel)
            if family is not follows:
                plan.families.append(family)
                texts.append("")
                follows = family
            texts[-1] += f"{_line(family, channel.label, label)}%s\n"
            plan.numbers.append((place, channel.unit.factor))
    return plan._replace(template=_BETWEEN.join(texts))


def _info_lines(view: ChargerView, api: int) -> Iterator[tuple[Head, str]]:
    """Yield the lines of the infos: the device's, and one for each part that a text describes."""
    table, own = view.table, {view.table.device: view.name}
    known = info_labels(table)
    found = {("", ""): {**own, **dict.fromkeys(known[""], ""), "api": str(api)}}
    for channel, part, value, _code in view.readings:
        if channel.kind is Kind.TEXT:
            of = channel.of
            empty = {**own, of: part, **dict.fromkeys(known[of], "")}
            found.setdefault((of, part if of else ""), empty)[channel.label] = str(value)
    for (of, _part), labels in found.items():
        head = heads(table).infos[of]
        yield head, f"{series(head.name, labels)} 1.0\n"


@cache
def _line(family: Head, label: str = "", text: str = "") -> str:
    """Return a line up to its value, with a placeholder for the charger's name."""
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    parts = zip(label.split(), text.split(), strict=True)
    labels = {family.device: _NAME, **dict(parts)}
    return f"{series(name, labels)} "


@cache
def _family(channel: Channel) -> Head:
    kind = "counter" if channel.kind is Kind.COUNTER else "gauge"
    return Head(channel.metric, channel.help, kind, channel.device)


@cache
def _code(channel: Channel) -> Head:
    """Return the family of a state's code."""
    help_text = f"{channel.help[:-1]} (numeric code)."
    return Head(f"{channel.prefix}_{channel.name}_code", help_text, device=channel.device)


@cache
def _state_set(channel: Channel, present: str) -> str:
    """Return a state's lines, with placeholders for the charger's name.

    A state has one sample per name, 1 for the present one and 0 for the others; a reason has only
    the sample of the present one.
    """
    assert channel.states is not None
    states = (present,) if channel.kind is Kind.REASON else channel.states.names
    return "".join(
        f"{_line(_family(channel), channel.label, state)}{float(state == present)}\n"
        for state in states
    )
