"""Strict YAML files: what cannot be read, what is no YAML, and values that do not match a tag."""

from __future__ import annotations

from pathlib import Path

import pytest

from goe_exporter.config import yaml_file
from goe_exporter.errors import ConfigError


def refusal(path: Path) -> str:
    """Return the error for a file that cannot be loaded."""
    with pytest.raises(ConfigError) as refused:
        yaml_file.read(str(path))
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.yaml", "No such file or directory"), ("", "Is a directory")],
    ids=["missing", "directory"],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    """The error names the file and the system's reason."""
    assert refusal(tmp_path / name) == f"cannot read {tmp_path / name}: {message}"


@pytest.mark.parametrize("content", [b"chargers: \xff\n", "chargers: []\n".encode("utf-16")])
def test_a_file_in_another_encoding(tmp_path: Path, content: bytes) -> None:
    """A file that is not UTF-8 is rejected as such."""
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert refusal(path) == f"cannot read {path}: not UTF-8"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: " + b"[" * 5000, "nested too deeply"),
        (b"a: \x01\n", "unacceptable character #x0001: special characters are not allowed"),
    ],
    ids=["deep", "control character"],
)
def test_a_file_that_breaks_the_parser(tmp_path: Path, content: bytes, message: str) -> None:
    """What the YAML library cannot parse is an error of one line that names the file."""
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert refusal(path) == f"{path}: invalid YAML: {message}"


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    """A file of more than 16 MiB is rejected, so that one without an end fills no memory."""
    path = tmp_path / "config.yaml"
    for size, message in ((2**24, "special characters are not allowed"), (2**24 + 1, "16 MiB")):
        with path.open("wb") as file:
            file.truncate(size)
        assert message in refusal(path)
    assert refusal(path) == f"cannot read {path}: larger than 16 MiB"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("9" * 5000, "int"),
        ("!!timestamp 2024-99-99", "timestamp"),
        ("!!timestamp soon", "timestamp"),
        ("!!int ''", "int"),
        ("!!bool perhaps", "bool"),
        ("!!float x", "float"),
    ],
)
def test_a_value_that_does_not_match_its_tag(tmp_path: Path, text: str, kind: str) -> None:
    """The library raises errors of many kinds; the message names the place."""
    path = tmp_path / "config.yaml"
    path.write_text(f"a: {text}")
    assert refusal(path) == f"{path}:1:4: invalid {kind}; quote texts"


@pytest.mark.parametrize(
    ("text", "character"),
    [("*key", "*"), ("[&a 1, &a 2]", "&"), ("!key", "!"), ("!a!key", "!")],
    ids=["alias", "anchor", "tag", "handle"],
)
def test_a_text_that_needs_quotes(tmp_path: Path, text: str, character: str) -> None:
    """Instead of the library's error, which repeats the text, the message says what to do."""
    path = tmp_path / "config.yaml"
    path.write_text(f"password: {text}")
    assert refusal(path).partition(": ")[2] == f"quote values that start with {character}"


def test_an_empty_file(tmp_path: Path) -> None:
    """An empty file is an empty mapping."""
    path = tmp_path / "config.yaml"
    path.write_text("# nothing\n")
    assert yaml_file.read(str(path)).content == {}
