"""What an error lists of a file with many mistakes: each once, and not too many."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from goe_exporter.config import strict_yaml, yaml_file
from goe_exporter.config.mistakes import Mistake
from goe_exporter.config.strict_yaml import Strict
from goe_exporter.errors import ConfigError

MAPPING = "must be a mapping with keys such as colour, not a single value"


class Door(Strict):
    """A section inside a list."""

    colour: str
    width: int = Field(default=80, ge=60, le=120)
    key_code: str = Field(default="", repr=False)


class House(Strict):
    """A whole file."""

    doors: tuple[Door, ...] = ()
    main_door: Door | None = None
    names: dict[str, str] = Field(default_factory=dict)


def lines(path: Path, text: str, *more: Mistake) -> list[str]:
    """Return the lines of the error for a file, with its path replaced by `FILE`."""
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        strict_yaml.validated(House, *yaml_file.read(str(path)), more)
    assert str(refused.value) == "; ".join(refused.value.lines)
    return [line.replace(str(path), "FILE", 1) for line in refused.value.lines]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a file."""
    return tmp_path / "house.yaml"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        *(("coluor", "colour"), ("color", "colour"), ("Colour", "colour"), ("with", "width")),
        *(("WIDTH", "width"), ("key-code", "key_code"), ("keycode", "key_code")),
        *(("code", "key_code"), ("key", "key_code"), ("keyCode", "key_code")),
    ],
)
def test_a_similar_key(path: Path, key: str, meant: str) -> None:
    """A misspelt key, one in other letters and a part of a key suggest the key that is meant."""
    found = lines(path, f"main_door: {{{key}: '1'}}")
    assert found[0] == f"FILE:1:13: main_door.{key}: unknown key; did you mean '{meant}'?"
    assert found[1:] == ([] if meant == "colour" else ["FILE:1:12: main_door.colour is required"])


@pytest.mark.parametrize(
    ("key", "shown"), [("handle", "handle"), ("x", "x"), ("co", "co"), ("'@'", "@"), ("1", "1")]
)
def test_another_key(path: Path, key: str, shown: str) -> None:
    """A key that resembles none is answered with all that are allowed."""
    assert lines(path, f"main_door: {{colour: red, {key}: 1}}") == [
        f"FILE:1:26: main_door.{shown}: unknown key; allowed are colour, width, key_code"
    ]


def test_only_a_free_key_is_suggested(path: Path) -> None:
    """A key that the section has already is not what another one means."""
    assert lines(path, "main_door: {color: red, colour: blue}") == [
        "FILE:1:13: main_door.color: unknown key; allowed are colour, width, key_code"
    ]


def test_unknown_keys_are_first(path: Path) -> None:
    """Unknown keys precede other mistakes, both in the order of the file."""
    text = (
        "doors:\n- {colour: 1, width: 3}\n- {colour: red, width: wide, hight: 2}\n"
        "- red\nrooms: 3\nnames: [a]\n"
    )
    assert lines(path, text) == [
        "FILE:3:30: doors[1].hight: unknown key; allowed are colour, width, key_code",
        "FILE:5:1: rooms: unknown key; allowed are doors, main_door, names",
        "FILE:2:12: doors[0].colour: must be text, not 1",
        "FILE:2:22: doors[0].width: must be 60 or more, not 3",
        "FILE:3:24: doors[1].width: must be a whole number, not 'wide'",
        f"FILE:4:3: doors[2]: {MAPPING}",
        "FILE:6:8: names: must be a mapping such as {site: home}, not a list",
    ]


def test_a_secret_is_in_no_line(path: Path) -> None:
    """Neither a wrong secret nor the value of a misspelt key is shown."""
    text = (
        "doors:\n"
        "- {colour: red, key_code: [hunter2]}\n"
        "- {colour: red, key_kode: hunter2, width: x}\n"
        "- {colour: red, key_code: {hunter2: 1}}\n"
    )
    assert lines(path, text) == [
        "FILE:3:17: doors[1].key_kode: unknown key; did you mean 'key_code'?",
        "FILE:2:27: doors[0].key_code: must be text",
        "FILE:3:43: doors[1].width: must be a whole number, not 'x'",
        "FILE:4:27: doors[2].key_code: must be text",
    ]


def test_texts_of_a_mapping(path: Path) -> None:
    """Each ambiguous key and value of a mapping is a mistake of its own."""
    assert lines(path, 'names:\n  a: NO\n  off: b\n  c: 7\n  d: "e\\0"\n  e: f\n') == [
        "FILE:2:6: names.a: write 'NO' in quotes",
        "FILE:3:3: names.off: write 'off' in quotes",
        "FILE:4:6: names.c: must be text, not 7",
        "FILE:5:6: names.d: must be text without NUL, not 'e\\x00'",
    ]


def test_a_wrong_key_with_a_wrong_value(path: Path) -> None:
    """Both are mistakes, so that one is not found only when the other is corrected."""
    assert lines(path, "names: {NO: yes}") == [
        "FILE:1:9: names.NO: write 'NO' in quotes",
        "FILE:1:13: names.NO: write 'yes' in quotes",
    ]


def test_keys_that_are_given_twice(path: Path) -> None:
    """Each repetition is a mistake, and the last value is checked like any other."""
    assert lines(path, "names: {a: b}\nmain_door:\n  colour: red\n  colour: 1\nnames: {}\n") == [
        "FILE:4:3: duplicate key 'colour'",
        "FILE:4:11: main_door.colour: must be text, not 1",
        "FILE:5:1: duplicate key 'names'",
    ]


def test_a_section_that_is_used_twice(path: Path) -> None:
    """The mistake of a section is listed once, though an alias repeats the section."""
    text = "doors:\n- &d {colour: red, width: 1}\n- *d\n- {<<: *d, colour: blue}\n"
    assert lines(path, text) == ["FILE:2:27: doors[0].width: must be 60 or more, not 1"]


def test_a_place_has_one_mistake(path: Path) -> None:
    """A further mistake is left out where the value is wrong already."""
    more = Mistake(("doors", 0, "colour"), ": is out of fashion")
    assert lines(path, "doors: [{colour: 1}]", more) == [
        "FILE:1:18: doors[0].colour: must be text, not 1"
    ]
    assert lines(path, "doors: [{colour: red}]", more) == [
        "FILE:1:18: doors[0].colour: is out of fashion"
    ]


def test_without_a_file() -> None:
    """A document that is no file has its mistakes in the order in which they are found."""
    with pytest.raises(ConfigError) as refused:
        strict_yaml.validated(House, {"names": 1, "doors": [{"width": 1}], "dors": 2}, "house")
    assert refused.value.lines == (
        "house: dors: unknown key; allowed are doors, main_door, names",
        "house: doors[0].colour is required",
        "house: doors[0].width: must be 60 or more, not 1",
        "house: names: must be a mapping such as {site: home}, not a single value",
    )


@pytest.mark.parametrize(
    ("text", "first", "more"),
    [
        ("".join(f"k{n}: 1\n" for n in range(10_000)), "FILE:1:1: k0: unknown key; ", 9980),
        ("names: {}\n" * 10_001, "FILE:2:1: duplicate key 'names'", 9980),
        (
            "doors:\n" + "- {colour: red, coluor: 1}\n" * 10_000,
            "FILE:2:17: doors[0].coluor: unknown key; ",
            9980,
        ),
        (
            "doors:\n" + "- {coluor: 1, width: 1}\n" * 5000,
            "FILE:2:4: doors[0].coluor: unknown key; did you mean 'colour'?",
            9980,
        ),
        ("doors: [" + "7, " * 21 + "]", "FILE:1:9: doors[0]: must be a mapping ", 1),
    ],
    ids=["unknown", "twice", "sections", "both", "one more"],
)
def test_ten_thousand_mistakes(path: Path, text: str, first: str, more: int) -> None:
    """Twenty mistakes are listed, and the others counted; the lines stay short."""
    found = lines(path, text)
    assert len(found) == 21
    assert found[0].startswith(first)
    assert found[20] == f"FILE: {more} more mistake{'s' if more > 1 else ''}"
    assert max(map(len, found)) < 200


def test_twenty_mistakes(path: Path) -> None:
    """Up to twenty mistakes are all listed."""
    found = lines(path, "doors: [" + "7, " * 20 + "]")
    assert len(found) == 20
    assert found[19].startswith("FILE:1:66: doors[19]: must be a mapping ")
