"""Files in YAML, read strictly: what is unknown, doubled or of the wrong kind is an error.

Every error is a `ConfigError` of one line that names the file, the place (`chargers[0].api`) and
what is allowed there. `config` and `web_config` say what their files hold.
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
    """An unquoted text that YAML 1.1 takes for something else, such as 0100 (64) or NO (false).

    `meaning` is what it takes it for, None if that makes no sense.
    """

    __slots__ = ("meaning",)
    meaning: object


class Strict(BaseModel):
    """A section of a file: frozen, no key but its own, and no text that cannot be passed on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _sound(cls, value: object, info: ValidationInfo) -> object:
        """Refuse half a surrogate pair, as an argument that is no UTF-8 has it, and NUL.

        And what is ambiguous without quotes.
        """
        field = cls.model_fields[info.field_name or ""]
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
    """Return what a file holds, `{}` for an empty one; raises `ConfigError`."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {one_line(path)}: {os_reason(error)}") from error
    try:
        found: object = yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: {_words(error)}") from None
    except yaml.YAMLError as error:
        first_line = (str(error) or type(error).__name__).splitlines()[0]
        raise ConfigError(f"{path}: no YAML: {first_line}") from None
    except RecursionError:
        raise ConfigError(f"{path}: no YAML: too deep") from None
    except _STUMBLES:  # over what it completes at the end; the words may hold the value
        raise ConfigError(
            f"{path}: a value is not what its tag says; a text wants quotes"
        ) from None
    return {} if found is None else found


def validated(model: type[_Model], found: object, source: str) -> _Model:
    """Return a document as what it should be; raises `ConfigError` naming `source`."""
    if not isinstance(found, dict):
        # Not shown: a file that is no configuration may be the one with the password.
        raise ConfigError(f"{source}: keys and values are wanted, not {shape(found)}")
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise ConfigError(f"{source}: {sentence(model, error)}") from None


def sentence(model: type[Strict], error: ValidationError) -> str:
    """Return the first thing wrong, and how many more there are."""
    first, *more = error.errors(include_url=False)
    rest = f" (and {len(more)} more)" if more else ""
    return f"{_problem(model, first)}{rest}"


def _spelling(text: Ambiguous, field: FieldInfo) -> str | None:
    """Return how to write an ambiguous text in a field; None if the field's own rule says it."""
    kinds, meaning = set(_types(field.annotation)), text.meaning
    if bool in kinds and isinstance(meaning, bool):
        return f"write {str(meaning).lower()}, not {text}"
    if str in kinds:
        return f"write {shown(str(text))} in quotes" if field.repr else "write it in quotes"
    if int not in kinds or any(isinstance(each, BeforeValidator) for each in field.metadata):
        return None
    if type(meaning) is not int or len(text) > MAX_NUMBER_CHARACTERS:
        return f"a whole number, not {shown(str(text))}"
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
        fields = _model_at(model, detail["loc"][:-1]).model_fields
        return f"{place}: unknown key; allowed are {', '.join(map(_key, fields.items()))}"
    if kind == "missing":
        return f"{place} is missing"
    if kind == "value_error":
        return f"{place}: {context['error']}" if place else str(context["error"])
    known = _RULES.get(kind)
    rule = known.format(**context) if known else detail["msg"].lower()
    if _is_secret(model, detail["loc"]):
        return f"{place}: {rule}"
    if kind in _SHAPES:
        return f"{place}: {rule}, not {shape(detail['input'])}"
    return f"{place}: {rule}, not {shown(detail['input'])}"


def _words(error: yaml.MarkedYAMLError) -> str:
    """Return what YAML has against a text, without quoting what may be half a password."""
    words = str(error.problem)
    if words.startswith("but "):
        words = f"{error.context}, {words}"
    for opening, rule in _UNQUOTED.items():
        if words.startswith(opening):
            return rule
    return words


def _is_secret(model: type[BaseModel], place: Sequence[int | str]) -> bool:
    """Tell whether a value at a place of a document is one that is never shown."""
    for end, step in enumerate(place):
        field = _model_at(model, place[:end]).model_fields.get(str(step))
        if field is not None and not field.repr:
            return True
    return False


def _key(item: tuple[str, Any]) -> str:
    """Return a field's key as it stands in a file."""
    name, field = item
    return str(field.alias or name)


def _model_at(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel]:
    """Return the section that stands at a place of a document."""
    for step in place:
        field = model.model_fields.get(str(step))
        if field is not None:
            model = next(_models(field.annotation), model)
    return model


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    return (each for each in _types(annotation) if issubclass(each, BaseModel))


_UNQUOTED = {
    "found undefined alias": "a text that begins with * wants quotes",
    "found duplicate anchor": "a text that begins with & wants quotes",
    "could not determine a constructor for the tag": "a text that begins with ! wants quotes",
    "found undefined tag handle": "a text that begins with ! wants quotes",
}
"""What YAML makes of a text without its quotes, and what to say instead of repeating it."""

_STUMBLES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What the YAML library raises, besides its own, for a value that is not what its tag says."""

_SHAPES = ("dict_type", "list_type", "model_type", "tuple_type")
"""Pydantic's kinds of mistakes where a section or a list was wanted."""

_RULES = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "literal_error": "{expected}",
    "string_type": "a text",
    "string_too_short": "a text that is not empty",
    "dict_type": "keys and values such as {{site: home}}",
    "list_type": "a list",
    "model_type": "keys and values such as {{name: garage, host: 192.168.1.36}}",
    "tuple_type": "a list such as [{{name: garage, host: 192.168.1.36}}]",
}
"""Pydantic's kinds of mistakes in our words, with what pydantic knows of them."""


_AMBIGUOUS = "tag:goe-exporter:ambiguous"
_PLAIN = {
    "bool": re.compile("true|True|TRUE|false|False|FALSE"),
    "int": re.compile("[-+]?(0|[1-9][0-9]*)"),
    "float": re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?"),
    "timestamp": re.compile("(?!)"),
}
"""What YAML 1.1 takes for another thing than a text, and the spellings that nobody mistakes."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would keep the last without a word.

    And a value that is not what its tag says, of which the library has no error of its own.
    """

    def resolve(self, kind: type[yaml.Node], value: Any, implicit: Any) -> str:
        """Return the tag of a node without one; `_AMBIGUOUS` for a text of two meanings."""
        tag: str = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        if kind is not yaml.ScalarNode or not implicit[0]:
            return tag
        plain = _PLAIN.get(tag.rpartition(":")[2])
        return tag if plain is None or plain.fullmatch(value) else _AMBIGUOUS

    def construct_ambiguous(self, node: yaml.ScalarNode) -> Ambiguous:
        """Return the text as it stands in the file, with what YAML 1.1 takes it for."""
        text = Ambiguous(node.value)
        text.meaning = None
        tag = super().resolve(yaml.ScalarNode, node.value, (True, False))  # type: ignore[no-untyped-call]
        with contextlib.suppress(*_STUMBLES):
            text.meaning = self.yaml_constructors[tag](self, node)
        return text

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except _STUMBLES:  # whose words may hold the value, and nobody knows what it was to be
            kind = str(node.tag).rpartition(":")[2]
            raise yaml.MarkedYAMLError(
                problem=f"no {kind}; a text wants quotes", problem_mark=node.start_mark
            ) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _value in node.value:
            key = getattr(key_node, "value", None)
            if not isinstance(key, str):
                continue
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"key {shown(key)} stands twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_constructor(_AMBIGUOUS, _Loader.construct_ambiguous)
