"""Every guarantee that names a test names an existing one; user pages name none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from paths import ROOT

GUARANTEES = (ROOT / "docs/guarantees.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(test_\w+(?:\.py)?)`", GUARANTEES)))
FILES = {path.name: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
DEFINED = set(re.findall(r"^def (test_\w+)\(", "\n".join(FILES.values()), re.MULTILINE))
FOR_DEVELOPERS = {"architecture.md", "dependencies.md", "guarantees.md", "protocol.md"}
USER_PAGES = [
    ROOT / "README.md",
    *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in FOR_DEVELOPERS),
]


@pytest.mark.parametrize("name", NAMED)
def test_named_test_exists(name: str) -> None:
    """A name in docs/guarantees.md is a test, or a file of tests."""
    assert name in FILES or name in DEFINED


@pytest.mark.parametrize(("heading", "least"), [("to your points", 17), ("to polling", 2)])
def test_each_row_names_a_test(heading: str, least: int) -> None:
    """Each row of the tables of failures names the test that shows it."""
    section = GUARANTEES.partition(f"## What happens {heading} when …")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) >= least
    assert all(re.search(r"`test_\w+", row.rsplit("|", 2)[1]) for row in rows)


@pytest.mark.parametrize("path", USER_PAGES, ids=lambda path: path.name)
def test_user_page_names_no_test(path: Path) -> None:
    """A user page describes behaviour; which test shows it belongs in docs/guarantees.md."""
    assert re.findall(r"\btest_\w+", path.read_text("utf-8")) == []
