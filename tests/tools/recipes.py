"""The configurations of other programs in docs/beside-evcc-and-home-assistant.md."""

from __future__ import annotations

import re
import shlex

from paths import ROOT

PAGE = ROOT / "docs/beside-evcc-and-home-assistant.md"

EXPORTER = "exporter.lan:10332"
VICTORIA = "victoria.lan:8428"
"""The addresses of the exporter and of VictoriaMetrics on the page."""


def recipes(heading: str, language: str) -> list[str]:
    """Return the blocks of code in a language, of the section below a heading, in order."""
    text = PAGE.read_text("utf-8")
    found = re.search(rf"(?ms)^(#+) {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text)
    assert found is not None, heading
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", found[2])


def recipe(heading: str, language: str) -> str:
    """Return the only block of code in a language, of the section below a heading."""
    (block,) = recipes(heading, language)
    return block


def command(heading: str) -> list[str]:
    """Return the words of the command in a section."""
    return shlex.split(recipe(heading, "sh").replace("\\\n", ""))
