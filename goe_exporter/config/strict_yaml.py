"""Strict YAML files: unknown keys, duplicate keys and values of the wrong kind are errors.

Every mistake is a line of the `ConfigError`, with the file, line and column, the place
(`chargers[0].api`) and what is allowed there. A room defines its section of a file as a subclass of
`Strict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo

from goe_exporter.config import mistakes
from goe_exporter.config.mistakes import Mistake, Refused, models, types
from goe_exporter.config.quoting import shape, shown
from goe_exporter.config.values import text_fault
from goe_exporter.config.yaml_file import NOWHERE, Ambiguous, Document, Places
from goe_exporter.errors import ConfigError

MAX_NUMBER_CHARACTERS = 20


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
        if field.annotation is bool and not isinstance(value, bool | Ambiguous):
            raise ValueError(f"must be true or false, not {shown(value)}")
        if isinstance(value, dict) and not any(models(field.annotation)):
            return {_sound(key, field): _sound(each, field) for key, each in value.items()}
        if isinstance(value, list) and not any(models(field.annotation)):
            return [_sound(each, field) for each in value]
        found = _sound(value, field)
        if isinstance(found, Refused):
            raise ValueError(found.rule)  # noqa: TRY004, pydantic's
        return found


_Model = TypeVar("_Model", bound=Strict)
_Result = TypeVar("_Result")


def validated(
    model: type[_Model],
    document: object,
    source: str,
    places: Places = NOWHERE,
    more: Iterable[Mistake] = (),
) -> _Model:
    """Return a document as a section; raises `ConfigError` with every mistake, and with `more`.

    The arguments are those of a `Document`. The files that it names are checked too.
    """
    if not isinstance(document, dict):
        # Its content is not shown, since the file may be one with a password.
        raise ConfigError(f"{source}: must be a mapping, not {shape(document)}")
    return _checked(model.model_validate, model, Document(document, source, places), more)


def validated_list(model: type[_Model], document: Document) -> tuple[_Model, ...]:
    """Return a document as a list of sections; raises `ConfigError` with every mistake."""
    if not isinstance(document.content, list):
        raise ConfigError(f"{document.source}: must be a list, not {shape(document.content)}")
    return _checked(_sections(model).validate_python, model, document)


def _checked(
    validate: Callable[..., _Result],
    model: type[Strict],
    document: Document,
    more: Iterable[Mistake] = (),
) -> _Result:
    """Return what `validate` makes of a document; raises `ConfigError` with every mistake."""
    content, source, places = document
    found: list[Mistake] = []
    try:
        result = validate(content, context=_CHECK_FILES)
    except ValidationError as error:
        found = mistakes.found(model, content, error)
    if lines := mistakes.listed(content, source, places, [*found, *more]):
        raise ConfigError(*lines)
    return result


@cache
def _sections(model: type[_Model]) -> TypeAdapter[tuple[_Model, ...]]:
    return TypeAdapter(tuple[model, ...])  # type: ignore[valid-type]


def usable(check: Callable[[str], object]) -> AfterValidator:
    """Return a validator that applies `check` to the name of a file, None for no file.

    `check` raises `ConfigError`. It is applied only where a document is validated.
    """

    def checked(name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and checks_files(info):
            try:
                check(name)
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return name

    return AfterValidator(checked)


def checks_files(info: ValidationInfo) -> bool:
    """Return whether a document is validated, and the files that it names with it."""
    return info.context is _CHECK_FILES


_CHECK_FILES = {"files": True}


def _sound(value: object, field: FieldInfo) -> object:
    """Return a value, `Refused` for a text that is ambiguous, or that no file or header holds."""
    if not isinstance(value, str):
        return value
    if isinstance(value, Ambiguous) and (rule := _spelling(value, field)):
        return Refused(value, rule)
    if fault := text_fault(value):
        return Refused(value, f"{fault}, not {shown(value)}" if field.repr else fault)
    return value


def _spelling(text: Ambiguous, field: FieldInfo) -> str | None:
    """Return how to write an ambiguous text in a field, None if the field's own rule says it."""
    kinds, meaning = set(types(field.annotation)), text.meaning
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
