"""`python -m docs.home` sets the owner of the repository everywhere."""

from __future__ import annotations

import re
import subprocess
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
from checkout import copied

from docs import home

pytestmark = pytest.mark.system

NEW, NEW_IMAGE = "Some-Body", "some-body"
HOSTS = (
    r"(?i)(github\.com[/:]|githubusercontent\.com/|ghcr\.io/)[\w-]+/goe-exporter"
    r"|[\w-]+\.github\.io"
)


def texts(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, except git's own."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): path.read_bytes() for path in paths}
    return {
        name: text
        for name, text in found.items()
        if not name.startswith(".git/") and "__pycache__" not in name
    }


def homes(folder: Path) -> set[str]:
    """Return every URL of the repository and every name of the image in the files."""
    everything = b"\n".join(texts(folder).values()).decode(errors="replace").replace("\\", "")
    found = {match[0] for match in re.finditer(HOSTS, everything)}
    return {each for each in found if "/OWNER/" not in each}  # the placeholder in texts


def run(folder: Path, *arguments: str) -> str:
    """Run a module in a folder, and return what it prints."""
    command = [sys.executable, "-m", *arguments]
    return subprocess.check_output(command, cwd=folder, text=True)


def test_the_owner_is_set_everywhere(tmp_path: Path) -> None:
    """No URL of the former owner is left; generated files stay current; it can be undone."""
    folder = copied(tmp_path)
    former, before = home.current(), texts(folder)
    written = run(folder, "docs.home", NEW).splitlines()
    assert homes(folder) == {f"github.com/{NEW}/goe-exporter", f"ghcr.io/{NEW_IMAGE}/goe-exporter"}
    changed = {name for name, text in texts(folder).items() if text != before[name]}
    assert {f"{name}: written" for name in changed} == set(written)
    assert changed >= {
        *("pyproject.toml", "README.md", "Dockerfile", ".github/workflows/release.yml"),
        *("goe_exporter/web/templates/base.html", "dashboards/alerts/goe-alerts.yaml"),
        *("docs/man_page.py", "share/man/man1/goe-exporter.1"),
    }
    run(folder, "docs.command_line", "--check")
    run(folder, "dashboards.build", "--check")
    run(folder, "docs.home", former)
    assert texts(folder) == before


@pytest.mark.parametrize("name", ["", "a/b", "-a", "a-", "a--b", "a b", "a.b", "a" * 40])
def test_an_impossible_owner_is_rejected(name: str) -> None:
    """What GitHub does not allow as a name changes nothing."""
    with pytest.raises(ArgumentTypeError, match="is not a GitHub user or organization"):
        home.owner(name)


@pytest.mark.parametrize("name", ["a", "goe-exporter", "A1-b2-C3", "a" * 39])
def test_a_possible_owner(name: str) -> None:
    """What GitHub allows as a name is taken as it is."""
    assert home.owner(name) == name
