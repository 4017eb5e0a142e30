"""Shards: each charger belongs to one process, and few move when their number changes."""

from __future__ import annotations

import pytest

from goe_exporter.service.sharding import Shard, shard

NAMES = [f"charger-{number:04}" for number in range(1000)]


def shards_of(count: int) -> list[set[str]]:
    """Return the names of each shard."""
    return [{name for name in NAMES if Shard(number, count).polls(name)} for number in range(count)]


@pytest.mark.parametrize("count", [1, 2, 4, 8, 9])
def test_each_charger_belongs_to_one_shard(count: int) -> None:
    """The shards are disjoint, cover all names, and are about equally large."""
    found = shards_of(count)
    assert sum(map(len, found)) == 1000
    assert set().union(*found) == set(NAMES)
    assert max(map(len, found)) <= 1.25 * 1000 / count


def test_one_more_shard_moves_about_a_ninth() -> None:
    """From 8 to 9 shards 9 to 14 % of the chargers move, all of them to the new shard."""
    before, after = shards_of(8), shards_of(9)
    moved = {name for old, new in zip(before, after, strict=False) for name in old - new}
    assert 90 <= len(moved) <= 140
    assert after[8] == moved


def test_the_shard_of_a_name_is_fixed() -> None:
    """The assignment is a promise, since a spool and the history stay with the process.

    Worked out with sha256sum: of 0/garage, 1/garage, 2/garage and 3/garage, the largest digest
    is that of the listed number.
    """
    assert [number for number in range(4) if Shard(number, 4).polls("garage")] == [0]
    assert [number for number in range(4) if Shard(number, 4).polls("Höfe 3")] == [1]


@pytest.mark.parametrize(
    ("text", "expected"), [("0/1", (0, 1)), ("2/8", (2, 8)), ("1023/1024", (1023, 1024))]
)
def test_a_shard_by_number(text: str, expected: tuple[int, int]) -> None:
    """NUMBER/COUNT counts from 0."""
    assert shard(text) == Shard(*expected)


@pytest.mark.parametrize(
    ("host", "number"), [("exporter-3", 3), ("exporter-3.fleet.svc", 3), ("box07", 7)]
)
def test_a_shard_by_host_name(host: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With auto the number is at the end of the host name."""
    monkeypatch.setattr("platform.node", lambda: host)
    assert shard("auto/8") == Shard(number, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8/8", "NUMBER must be 0 to 7 of 8, not 8 of '8/8'"),
        ("0/0", "COUNT must be 1 to 1024, not 0"),
        ("0/1025", "COUNT must be 1 to 1024, not 1025"),
        ("1", "must be NUMBER/COUNT, such as 0/4, or auto/COUNT, not '1'"),
        ("-1/4", "must be NUMBER/COUNT, such as 0/4, or auto/COUNT, not '-1/4'"),
        ("auto", "must be NUMBER/COUNT, such as 0/4, or auto/COUNT, not 'auto'"),
        ("1/4 ", "must be NUMBER/COUNT, such as 0/4, or auto/COUNT, not '1/4 '"),
        ("auto/8", "auto: the host name 'localhost' does not end with a number"),
        ("\u0661/4", "must be NUMBER/COUNT, such as 0/4, or auto/COUNT, not '\u0661/4'"),
    ],
)
def test_refusals(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else is refused with what is allowed."""
    monkeypatch.setattr("platform.node", lambda: "localhost")
    with pytest.raises(ValueError, match=r"must|does not") as error:
        shard(text)
    assert str(error.value) == message


def test_a_pod_beyond_the_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ninth pod of eight shards is refused, by the host name."""
    monkeypatch.setattr("platform.node", lambda: "exporter-8")
    with pytest.raises(ValueError, match="not 8 of the host name 'exporter-8'"):
        shard("auto/8")
