"""The mistakes in a file, from pydantic's errors: one line each, unknown keys first.

A mistake is listed once: a key that is missing because it is misspelt is not listed as missing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from goe_exporter.config.quoting import MAX_SHOWN, one_line, shape, shown
from goe_exporter.config.yaml_file import Mark, Places

MAX_LISTED = 20
"""Number of mistakes that are listed; the others are counted."""

SIMILAR = 0.62
"""Least similarity of a suggestion: `intervall` means `refresh_interval`, `user` not `serial`."""

Place = tuple[int | str, ...]


class Refused:
    """Stands for a text in a list or mapping that breaks a rule, so that only it is rejected."""

    def __init__(self, text: str, rule: str) -> None:
        self._text = text
        self.rule = rule

    def __repr__(self) -> str:
        """Return the text, escaped if need be; pydantic makes it a part of the place."""
        return one_line(self._text)


class Mistake(NamedTuple):
    """What is wrong at a place such as `("chargers", 0, "api")`, or with the key there."""

    place: Place
    rule: str
    is_key: bool = False
    is_unknown: bool = False


def found(model: type[BaseModel], document: object, error: ValidationError) -> list[Mistake]:
    """Return the mistakes of a document that is no valid section."""
    details = error.errors(include_url=False)
    unknown = {
        detail["loc"]: _suggestion(model, document, detail["loc"])
        for detail in details
        if detail["type"] in ("extra_forbidden", "invalid_key")
    }
    misspelt = {(*place[:-1], meant) for place, meant in unknown.items() if meant}
    mistakes = []
    for detail in details:
        place = detail["loc"]
        if place in unknown:
            rule = f": unknown key; {_instead(model, place, unknown[place])}"
            mistakes.append(Mistake(place, rule, is_key=True, is_unknown=True))
        elif place in misspelt and (detail["type"] == "missing" or detail["input"] is None):
            continue
        elif detail["type"] != "missing":
            is_key = place[-1:] == ("[key]",)
            place = place[:-1] if is_key else place
            mistakes.append(Mistake(place, f": {_rule(model, detail)}", is_key=is_key))
        else:
            mistakes.append(Mistake(place, " is required"))
    return mistakes


def listed(document: object, source: str, places: Places, mistakes: Iterable[Mistake]) -> list[str]:
    """Return a line for each mistake with its place, and one for those beyond `MAX_LISTED`."""
    seen: set[object] = set()
    entries = [(True, mark, Mistake((), rule)) for mark, rule in places.duplicates]
    for each in mistakes:
        place = each.place, each.is_key
        mark = places.find(each.place, key=each.is_key)
        # A section that is used twice, by an anchor, has its mistakes once.
        once = (mark, each.place[-1:], each.rule) if mark.line else place
        if seen.isdisjoint((place, once)):
            entries.append((not each.is_unknown, mark, each))
        seen |= {place, once}
    entries.sort(key=lambda entry: entry[:2])
    lines = [
        f"{source}{_position(mark)}: {_text(document, each)}"
        for _known, mark, each in entries[:MAX_LISTED]
    ]
    if more := len(entries) - len(lines):
        lines.append(f"{source}: {more} more mistake{'s' if more > 1 else ''}")
    return lines


def types(annotation: object) -> Iterator[type]:
    """Yield the plain types in an annotation."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from types(argument)


def models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the sections in an annotation."""
    return (each for each in types(annotation) if issubclass(each, BaseModel))


def _position(mark: Mark) -> str:
    return f":{mark.line}:{mark.column}" if mark.line else ""


def _text(document: object, mistake: Mistake) -> str:
    """Return the place, such as `chargers[0].api`, and what is wrong there."""
    text = ""
    for step in mistake.place:
        name = one_line(str(step)[:MAX_SHOWN]) or "''"
        text += f"[{name}]" if isinstance(document, list) else f".{name}" if text else name
        document = _below(document, step)
    return f"{text}{mistake.rule}" if text else mistake.rule.removeprefix(": ")


def _below(document: object, step: int | str) -> Any:
    """Return the value of a key or the item of a list, None if there is none."""
    if isinstance(document, dict):
        return document.get(step)
    if isinstance(document, list) and isinstance(step, int) and step < len(document):
        return document[step]
    return None


def _suggestion(model: type[BaseModel], document: object, place: Place) -> str:
    """Return the key that an unknown one seems to stand for, "" if none is similar."""
    for step in place[:-1]:
        document = _below(document, step)
    given = document if isinstance(document, dict) else {}
    free = tuple(key for key in _keys(_model_at(model, place[:-1])) if key not in given)
    return _closest(str(place[-1])[:MAX_SHOWN], free)


@cache
def _closest(key: str, allowed: tuple[str, ...]) -> str:
    lower, key = {each.lower(): each for each in allowed}, key.lower()
    similar = difflib.get_close_matches(key, lower, 1, SIMILAR)
    longer = [each for each in lower if key in (each.partition("_")[0], each.rpartition("_")[2])]
    return next((lower[each] for each in (*similar, *longer)), "")


def _instead(model: type[BaseModel], place: Place, meant: str) -> str:
    if meant:
        return f"did you mean {meant!r}?"
    return f"allowed are {', '.join(_keys(_model_at(model, place[:-1])))}"


def _rule(model: type[BaseModel], detail: ErrorDetails) -> str:
    """Return the rule that a value breaks, and the value unless it is secret."""
    kind, given, context = detail["type"], detail["input"], detail.get("ctx", {})
    if isinstance(given, Refused):
        return given.rule
    if kind == "value_error":
        return str(context["error"])
    known = _RULES.get(kind)
    if kind == "model_type" and "host" not in (keys := _keys(_model_at(model, detail["loc"]))):
        known = f"must be a mapping with keys such as {keys[0]}"
    rule = known.format(**context) if known else detail["msg"].lower()
    if _is_secret(model, detail["loc"]):
        return rule
    return f"{rule}, not {shape(given) if kind in _SHAPES else shown(given)}"


def _is_secret(model: type[BaseModel], place: Place) -> bool:
    """Return whether the value at a place of a document is secret."""
    for end, step in enumerate(place):
        field = _model_at(model, place[:end]).model_fields.get(str(step))
        if field is not None and not field.repr:
            return True
    return False


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel]:
    """Return the section at a place of a document."""
    for step in place:
        field = model.model_fields.get(str(step))
        if field is not None:
            model = next(models(field.annotation), model)
    return model


_SHAPES = ("dict_type", "list_type", "model_type", "tuple_type")
"""Pydantic's types of errors for a value that must be a mapping or a list."""

_RULES = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "literal_error": "must be {expected}",
    "string_type": "must be text",
    "string_too_short": "must be non-empty text",
    "dict_type": "must be a mapping such as {{site: home}}",
    "list_type": "must be a list",
    "model_type": "must be a mapping such as {{name: garage, host: 192.168.1.36}}",
    "tuple_type": "must be a list such as [{{name: garage, host: 192.168.1.36}}]",
}
"""Pydantic's types of errors, and the rules that they break, with pydantic's context."""
