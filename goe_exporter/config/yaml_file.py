"""A YAML file: its content, where each key and value is, and which keys are given twice.

YAML accepts what is mostly a mistake: duplicate keys, and texts with another meaning in YAML 1.1.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from goe_exporter.config.quoting import one_line, os_reason, shown
from goe_exporter.errors import ConfigError

MAX_BYTES = 16 * 1024 * 1024
"""Size of the largest file that is read: 100,000 chargers with labels have less."""


class Ambiguous(str):
    """An unquoted text with another meaning in YAML 1.1, such as 0100 (64) or NO (false).

    `meaning` is the value in YAML 1.1, None if it is invalid there.
    """

    __slots__ = ("meaning",)
    meaning: object


class Mark(NamedTuple):
    """A place in a file, counted from 1; 0 if it is not known."""

    line: int
    column: int


class Places:
    """Where the keys and values of a YAML file are, and its `duplicates`: keys given twice."""

    def __init__(
        self, root: yaml.Node | None = None, duplicates: Sequence[tuple[Mark, str]] = ()
    ) -> None:
        self.duplicates = duplicates
        self._root = root
        self._children: dict[int, dict[str, tuple[yaml.Node, yaml.Node]]] = {}

    def find(self, place: Sequence[int | str], *, key: bool = False) -> Mark:
        """Return the mark of a value or of its key; of the section around it if it is missing."""
        if self._root is None:
            return Mark(0, 0)
        node = found = self._root
        for step in place:
            child = self._child(node, step)
            if child is None:
                return _mark(node)
            key_node, node = child
            found = key_node if key else node
        return _mark(found)

    def _child(self, node: yaml.Node | None, step: int | str) -> tuple[yaml.Node, yaml.Node] | None:
        """Return the nodes of a key and its value; of a list's item, twice its own."""
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            return (node.value[step],) * 2 if step < len(node.value) else None
        if not isinstance(node, yaml.MappingNode):
            return None
        if id(node) not in self._children:
            self._children[id(node)] = {str(pair[0].value): pair for pair in node.value}
        return self._children[id(node)].get(str(step))


NOWHERE = Places()
"""The places of a document that is no file."""


class Document(NamedTuple):
    """A file's content, its name, and where its values are."""

    content: object
    source: str
    places: Places


def read(path: str) -> Document:
    """Return the document in a file, `{}` for an empty one; raises `ConfigError`."""
    try:
        content = _content(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {one_line(path)}: {os_reason(error)}") from error
    return parsed(content, path)


def parsed(file: bytes, path: str) -> Document:
    """Return the document in a file that has been read; raises `ConfigError`."""
    try:
        text = file.decode()
    except ValueError as error:
        raise ConfigError(f"cannot read {one_line(path)}: {os_reason(error)}") from error
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        content = {} if root is None else loader.construct_document(root)
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
    return Document({} if content is None else content, path, Places(root, loader.duplicates))


def _content(path: str) -> bytes:
    """Return the content of a file or pipe; raises `ConfigError` if it does not seem to end."""
    with Path(path).open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ConfigError(f"cannot read {one_line(path)}: larger than {MAX_BYTES // 1024**2} MiB")
    return content


def _mark(node: yaml.Node) -> Mark:
    mark = node.start_mark
    return Mark(0, 0) if mark is None else Mark(mark.line + 1, mark.column + 1)


def _reason(error: yaml.MarkedYAMLError) -> str:
    """Return why a file is invalid YAML, without quoting what may be part of a password."""
    problem = str(error.problem)
    if problem.startswith("but "):
        problem = f"{error.context}, {problem}"
    for opening, character in _UNQUOTED.items():
        if problem.startswith(opening):
            return f"quote values that start with {character}"
    return problem


_UNQUOTED = {
    "found undefined alias": "*",
    "second occurrence": "&",
    "could not determine a constructor for the tag": "!",
    "found undefined tag handle": "!",
}
"""Errors of the YAML library for an unquoted value, and the first character of that value."""

_VALUE_ERRORS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""Errors of the YAML library, besides its own, for a value that does not match its tag."""

_AMBIGUOUS = "tag:goe-exporter:ambiguous"
_PLAIN = {
    "bool": re.compile("true|True|TRUE|false|False|FALSE"),
    "int": re.compile("[-+]?(0|[1-9][0-9]*)"),
    "float": re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?"),
    "timestamp": re.compile("(?!)"),
}
"""Types of YAML 1.1 for plain values, and their unambiguous spellings."""


class _Loader(yaml.SafeLoader):
    """Collects duplicate keys, and rejects values that do not match their tag."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[tuple[Mark, str]] = []

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
                self.duplicates.append((_mark(key_node), f"duplicate key {shown(key)}"))
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_constructor(_AMBIGUOUS, _Loader.construct_ambiguous)
