"""The package: what is in it, and that it runs where nothing else is installed."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from checkout import copied, names
from commands import Launch
from exporters import LISTEN, Exporter
from paths import ROOT
from servers import PATIENCE_SECONDS

from goe_exporter import __version__

pytestmark = pytest.mark.system

SECRET = "deploy/secrets/influxdb_token"
MAX_BYTES = {"sdist": 4_000_000, "wheel": 800_000}


class Built(NamedTuple):
    """A source distribution and a wheel."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build both from a copy of the checkout in which somebody has created a secret."""
    folder = copied(tmp_path_factory.mktemp("checkout"))
    (folder / SECRET).write_text("a secret\n")
    (folder / "deploy/secrets/alertmanager/alertmanager_smtp_password").write_text("a secret\n")
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(target)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    name = f"goe_exporter-{__version__}"
    return Built(target / f"{name}.tar.gz", target / f"{name}-py3-none-any.whl")


def test_the_source_distribution_is_the_repository(built: Built) -> None:
    """It has every file of the repository and no other: no secret, no local file."""
    with tarfile.open(built.sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    assert found == {*names(), "PKG-INFO"}


def test_the_wheel_has_every_file(built: Built) -> None:
    """Modules, templates, translations, static files, man page and completions are in it."""
    with zipfile.ZipFile(built.wheel) as archive:
        found = {re.sub(r"^.*\.data/data/", "", name) for name in archive.namelist()}
    wanted = {name for name in names() if name.startswith(("goe_exporter/", "share/"))}
    assert {name for name in found if ".dist-info/" not in name} == wanted
    assert f"goe_exporter-{__version__}.dist-info/licenses/LICENSE" in found


def test_the_page_on_the_package_index_has_no_dead_link(built: Built) -> None:
    """It is the README; its relative links and images lead into the repository instead."""
    with zipfile.ZipFile(built.wheel) as archive:
        page = archive.read(f"goe_exporter-{__version__}.dist-info/METADATA").decode()
    targets = re.findall(r'(?:\]\(|src=")([^)"]+)', page)
    assert len(targets) > 20
    assert [each for each in targets if not each.startswith(("https://", "http://localhost"))] == []
    inside = re.findall(r"github\.com/[\w-]+/[\w-]+/(?:blob|raw)/main/([^#)\"\s]+)", page)
    assert {"docs/metrics.md", "docs/images/page-phone.png"} <= set(inside)
    assert [each for each in inside if not (ROOT / each).exists()] == []


@pytest.mark.parametrize("kind", ["sdist", "wheel"])
def test_the_package_is_small(built: Built, kind: str) -> None:
    """Neither grows unnoticed."""
    assert getattr(built, kind).stat().st_size < MAX_BYTES[kind]


class Installed(NamedTuple):
    """An environment in which only the package and its dependencies are installed."""

    folder: Path

    def program(self, name: str) -> str:
        """Return the path of a program of the environment."""
        return str(self.folder / "bin" / name)

    def run(self, name: str, *arguments: str) -> str:
        """Run a program, which must succeed, outside the checkout; return its output."""
        done = subprocess.run(
            [self.program(name), *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module", params=["wheel", "sdist"])
def installed(
    built: Built, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    """Install the wheel or the source distribution into an environment of its own."""
    there = Installed(tmp_path_factory.mktemp(request.param))
    subprocess.run([sys.executable, "-m", "venv", str(there.folder)], check=True)
    there.run("python", "-m", "pip", "install", "--quiet", str(getattr(built, request.param)))
    return there


@pytest.mark.slow
def test_it_is_installed_with_all_it_needs(installed: Installed) -> None:
    """Dependencies are complete, the program says its version and its help, `man` finds a page."""
    installed.run("python", "-m", "pip", "check")
    assert installed.run("goe-exporter", "--version") == f"goe-exporter {__version__}\n"
    assert "Commands:" in installed.run("goe-exporter", "--help")
    assert "max_current" in installed.run("goe-exporter", "channels")
    where = installed.run("python", "-c", "import goe_exporter; print(goe_exporter.__file__)")
    assert Path(where.strip()).is_relative_to(installed.folder)
    for name in (name for name in names() if name.startswith("share/")):
        assert (installed.folder / name).is_file(), name


@pytest.mark.slow
def test_it_runs(installed: Installed, launch: Launch) -> None:
    """`serve` polls what `simulate` simulates; the metrics, and the page with its files, answer."""
    program = (installed.program("goe-exporter"),)
    simulated = launch("simulate", "--listen=127.0.0.1:0", program=program)
    address = simulated.line(r"Simulated V4 at http://([\d.:]+)/")[1]
    exporter = Exporter(launch("serve", f"garage={address}", *LISTEN, program=program))
    exporter.wait('goe_up{charger="garage"}', 1)
    assert exporter.value(f'goe_exporter_build_info{{version="{__version__}"}}') == 1
    german = urllib.request.Request(exporter.url, headers={"Accept-Language": "de"})
    with urllib.request.urlopen(german, timeout=PATIENCE_SECONDS) as answer:
        page = answer.read().decode()
    assert "Dokumentation</a>" in page
    files = re.findall(r'(?:href|src)="(assets/[^"]+)"', page)
    assert len(files) == 4
    assert all(exporter.get(file) for file in files)
    read = installed.run("goe-exporter", "read", address, "--format", "json")
    assert '"max_current"' in read


@pytest.mark.slow
def test_the_demo_runs(installed: Installed, launch: Launch) -> None:
    """`demo` needs nothing else."""
    program = (installed.program("goe-exporter"),)
    exporter = Exporter(launch("demo", *LISTEN, program=program))
    exporter.wait('goe_up{charger="demo"}', 1)
