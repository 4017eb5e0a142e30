"""Strict YAML files: unknown keys, duplicate keys and values of the wrong kind are errors.

Every error is a `ConfigError` of one line that names the file, the place (`chargers[0].api`) and
what is allowed there. A room defines its section of a file as a subclass of `Strict`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from goe_exporter.config.quoting import MAX_SHOWN, one_line, os_reason, shape, shown
from goe_exporter.config.values import text_fault
from goe_exporter.errors import ConfigError

MAX_NUMBER_CHARACTERS = 20


class Ambiguous(str):
    """An unquoted text with another meaning in YAML 1.1, such as 0100 (64) or NO (false).

    `meaning` is the value in YAML 1.1, None if it is invalid there.
    """

    __slots__ = ("meaning",)
    meaning: object


class Strict(BaseModel):
    """A section of a file: frozen, and without unknown keys or ambiguous or invalid texts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _valid_texts(cls, value: object, info: ValidationInfo) -> object:
        """Reject NUL, lone surrogates, which invalid UTF-8 leads to, and ambiguous values."""
        field = cls.model_fields[info.field_name or ""]
        if isinstance(value, bool) and field.annotation is int:
            raise ValueError(f"must be a whole number, not {str(value).lower()}")
        texts = [value]
        if not any(_models(field.annotation)):
            texts += [*value, *value.values()] if isinstance(value, dict) else []
            texts += value if isinstance(value, list) else []
        for text in texts:
            if not isinstance(text, str):
                continue
            if isinstance(text, Ambiguous) and (rule := _spelling(text, field)):
                raise ValueError(rule)
            if fault := text_fault(text):
                raise ValueError(f"{fault}, not {shown(text)}" if field.repr else fault)
        return value


_Model = TypeVar("_Model", bound=Strict)


def document(path: str) -> object:
    """Return the content of a file, `{}` for an empty one; raises `ConfigError`."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {one_line(path)}: {os_reason(error)}") from error
    try:
        found: object = yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: {_reason(error)}") from None
    except yaml.YAMLError as error:
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{path}: invalid YAML: {first_line}") from None
    except RecursionError:
        raise ConfigError(f"{path}: invalid YAML: nested too deeply") from None
    except _VALUE_ERRORS:  # from nodes that are completed at the end; may quote the value
        raise ConfigError(f"{path}: a value does not match its tag; quote texts") from None
    return {} if found is None else found


def validated(model: type[_Model], found: object, source: str) -> _Model:
    """Return a document as a section; raises `ConfigError` naming `source`."""
    if not isinstance(found, dict):
        # Its content is not shown, since the file may be one with a password.
        raise ConfigError(f"{source}: must be a mapping, not {shape(found)}")
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise ConfigError(f"{source}: {sentence(model, error)}") from None


def sentence(model: type[Strict], error: ValidationError) -> str:
    """Return the first error, and the number of further errors."""
    first, *more = error.errors(include_url=False)
    rest = f" (and {len(more)} more)" if more else ""
    return f"{_problem(model, first)}{rest}"


def _spelling(text: Ambiguous, field: FieldInfo) -> str | None:
    """Return how to write an ambiguous text in a field, None if the field's own rule says it."""
    kinds, meaning = set(_types(field.annotation)), text.meaning
    if bool in kinds and isinstance(meaning, bool):
        return f"write {str(meaning).lower()}, not {text}"
    if str in kinds:
        return f"write {shown(str(text))} in quotes" if field.repr else "write it in quotes"
    if int not in kinds or any(isinstance(each, BeforeValidator) for each in field.metadata):
        return None
    if type(meaning) is not int or len(text) > MAX_NUMBER_CHARACTERS:
        return f"must be a whole number, not {shown(str(text))}"
    numbers = [int(text), meaning] if text.isdigit() else [meaning]
    return f"write {' or '.join(map(str, numbers))}, not {text}"


def _types(annotation: object) -> Iterator[type]:
    """Yield the plain types in an annotation."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for argument in get_args(annotation):
        yield from _types(argument)


def _problem(model: type[Strict], detail: ErrorDetails) -> str:
    place = ""
    for step in detail["loc"]:
        name = step if isinstance(step, int) else one_line(str(step)[:MAX_SHOWN])
        place += f"[{name}]" if isinstance(name, int) else f".{name}" if place else name
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in ("extra_forbidden", "invalid_key"):
        fields = _model_at(model, detail["loc"][:-1]).model_fields.items()
        keys = ", ".join(field.alias or name for name, field in fields)
        return f"{place}: unknown key; allowed are {keys}"
    if kind == "missing":
        return f"{place} is required"
    if kind == "value_error":
        return f"{place}: {context['error']}" if place else str(context["error"])
    known = _RULES.get(kind)
    rule = known.format(**context) if known else detail["msg"].lower()
    if _is_secret(model, detail["loc"]):
        return f"{place}: {rule}"
    if kind in _SHAPES:
        return f"{place}: {rule}, not {shape(detail['input'])}"
    return f"{place}: {rule}, not {shown(detail['input'])}"


def _reason(error: yaml.MarkedYAMLError) -> str:
    """Return why a file is invalid YAML, without quoting what may be part of a password."""
    problem = str(error.problem)
    if problem.startswith("but "):
        problem = f"{error.context}, {problem}"
    for opening, character in _UNQUOTED.items():
        if problem.startswith(opening):
            return f"quote values that start with {character}"
    return problem


def _is_secret(model: type[BaseModel], place: Sequence[int | str]) -> bool:
    """Return whether the value at a place of a document is secret."""
    for end, step in enumerate(place):
        field = _model_at(model, place[:end]).model_fields.get(str(step))
        if field is not None and not field.repr:
            return True
    return False


def _model_at(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel]:
    """Return the section at a place of a document."""
    for step in place:
        field = model.model_fields.get(str(step))
        if field is not None:
            model = next(_models(field.annotation), model)
    return model


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    return (each for each in _types(annotation) if issubclass(each, BaseModel))


_UNQUOTED = {
    "found undefined alias": "*",
    "second occurrence": "&",
    "could not determine a constructor for the tag": "!",
    "found undefined tag handle": "!",
}
"""Errors of the YAML library for an unquoted value, and the first character of that value."""

_VALUE_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors of the YAML library, besides its own, for a value that does not match its tag."""

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


_AMBIGUOUS = "tag:goe-exporter:ambiguous"
_PLAIN = {
    "bool": re.compile("true|True|TRUE|false|False|FALSE"),
    "int": re.compile("[-+]?(0|[1-9][0-9]*)"),
    "float": re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?"),
    "timestamp": re.compile("(?!)"),
}
"""Types of YAML 1.1 for plain values, and their unambiguous spellings."""


class _Loader(yaml.SafeLoader):
    """Rejects duplicate keys and values that do not match their tag, which YAML accepts."""

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """Return the tag of a node without one, `_AMBIGUOUS` for an ambiguous text."""
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        if kind is not yaml.ScalarNode or not implicit[0]:
            return tag
        plain = _PLAIN.get(tag.rpartition(":")[2])
        return tag if plain is None or plain.fullmatch(value) else _AMBIGUOUS

    def construct_ambiguous(self, node: yaml.ScalarNode) -> Ambiguous:
        """Return the text of the file, with its meaning in YAML 1.1."""
        text = Ambiguous(node.value)
        text.meaning = None
        tag = super().resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
        with contextlib.suppress(*_VALUE_ERRORS):
            text.meaning = self.yaml_constructors[tag](self, node)
        return text

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except _VALUE_ERRORS:  # the error may quote a value that is secret
            kind = str(node.tag).rpartition(":")[2]
            raise yaml.MarkedYAMLError(
                problem=f"invalid {kind}; quote texts", problem_mark=node.start_mark
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _value in node.value:
            key = getattr(key_node, "value", None)
            if not isinstance(key, str):
                continue
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"duplicate key {shown(key)}", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_constructor(_AMBIGUOUS, _Loader.construct_ambiguous)
