"""The inputs that are kept: for each target a file with a bytes literal per line."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent


def inputs(target: str) -> list[bytes]:
    """Return the kept inputs of a target."""
    path = FOLDER / f"{target}.txt"
    lines = path.read_text("ascii").splitlines() if path.exists() else []
    return [ast.literal_eval(line) for line in lines]


def keep(target: str, found: Iterable[bytes]) -> None:
    """Replace a target's kept inputs, the shortest first."""
    ordered = sorted(set(found), key=lambda data: (len(data), data))
    text = "".join(f"{data!r}\n" for data in ordered)
    (FOLDER / f"{target}.txt").write_text(text, "ascii")


def words(target: str) -> Path:
    """Return where libFuzzer's dictionary for a target may be."""
    return FOLDER / f"{target}.dict"
