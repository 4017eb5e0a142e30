"""Which of several processes polls a charger: rendezvous hashing of its name.

Every process computes the same answer from the name alone, so none has to know of the others.
With one more process, only the chargers that it takes over move.
"""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass

MAX_SHARDS = 1024

_SHARD = re.compile(r"(auto|[0-9]{1,4})/([0-9]{1,4})")
_ORDINAL = re.compile(r"(?<![0-9])[0-9]{1,9}\Z")


@dataclass(frozen=True)
class Shard:
    """Process `number` of `count`, from 0."""

    number: int
    count: int

    def __str__(self) -> str:
        """Return NUMBER/COUNT."""
        return f"{self.number}/{self.count}"

    def polls(self, charger: str) -> bool:
        """Return whether this process polls the charger with this name."""
        return max(range(self.count), key=lambda number: _weight(number, charger)) == self.number


def _weight(number: int, charger: str) -> bytes:
    return hashlib.sha256(f"{number}/{charger}".encode()).digest()


def shard(text: object) -> Shard:
    """Parse "2/8", or "auto/8", whose number is at the end of the host name; raises `ValueError`.

    A StatefulSet of Kubernetes names its pods in this way: exporter-0, exporter-1 and so on.
    """
    match = _SHARD.fullmatch(str(text))
    rule = "must be NUMBER/COUNT, such as 0/4, or auto/COUNT"
    if match is None:
        raise ValueError(f"{rule}, not {text!r:.80}")
    count = int(match[2])
    if not 1 <= count <= MAX_SHARDS:
        raise ValueError(f"COUNT must be 1 to {MAX_SHARDS}, not {count}")
    if match[1] != "auto":
        return _checked(int(match[1]), count, f"{text!r}")
    host = platform.node().partition(".")[0]
    ordinal = _ORDINAL.search(host)
    if ordinal is None:
        rule = "does not end with a number of up to 9 digits"
        raise ValueError(f"auto: the host name {host!r:.80} {rule}")
    return _checked(int(ordinal[0]), count, f"the host name {host!r:.80}")


def _checked(number: int, count: int, source: str) -> Shard:
    if number >= count:
        raise ValueError(f"NUMBER must be 0 to {count - 1} of {count}, not {number} of {source}")
    return Shard(number, count)
