"""Bad configuration files, each with the errors that it gives in its first lines."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from paths import TESTS

BAD = sorted((TESTS / "service/bad_config").glob("*.yaml"))


def errors_of(path: Path) -> list[str]:
    """Return the errors that a bad file says it gives; `FILE` stands for its path."""
    lines = path.read_text("utf-8").splitlines()
    comments = takewhile(lambda line: line.startswith("# FILE"), lines)
    found = [line.removeprefix("# ").replace("FILE", str(path), 1) for line in comments]
    assert found
    return found
