"""Each promise of the README that names a test names one that exists."""

from __future__ import annotations

import re

import pytest
from paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")
NAMED = sorted(set(re.findall(r"`(test_\w+(?:\.py)?)`", README)))
FILES = {path.name: path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py")}
DEFINED = set(re.findall(r"^def (test_\w+)\(", "\n".join(FILES.values()), re.MULTILINE))


@pytest.mark.parametrize("name", NAMED)
def test_named_test_exists(name: str) -> None:
    """A name in the README is a test, or a file of tests."""
    assert name in FILES or name in DEFINED


def test_each_line_of_the_table_names_one() -> None:
    """Whatever may happen to a point, a test shows what the README says of it."""
    table = README.partition("What happens to your points when")[2].partition("\n\n")[2]
    rows = table.partition("\n\n")[0].splitlines()[2:]
    assert len(rows) > 10
    assert all(re.search(r"`test_\w+", row.rsplit("|", 2)[1]) for row in rows)
