"""Imports point down, sinks are siblings, and every foreign library has one door."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import goe_exporter

ROOT = Path(goe_exporter.__file__).parent

MAY_IMPORT = {
    "__init__": "",
    "errors": "",
    "codes": "",
    "logs": "",
    "model": "codes",
    "channels": "codes model",
    "decode": "channels codes errors model",
    "dialect_v1": "errors",
    "transport": "errors",
    "client": "dialect_v1 errors model transport",
    "collector": "channels decode errors logs model",
    "supervisor": "",
    "schedule": "collector logs model",
    "text_format": "",
    "prometheus": "__version__ errors model text_format",
    "writer": "errors model",
    "strict_yaml": "errors",
    "config": "errors model strict_yaml",
    "docs": "model writer",
    "web_config": "config errors logs strict_yaml",
    "guard": "web_config",
    "server": "config guard web_config",
    "history": "model",
    "limits": "",
    "words": "",
    "language": "words",
    "quantities": "language",
    "portrait": "language limits model quantities",
    "web_page": "__version__ language model portrait",
    "web_api": "__version__ errors history model",
    "web": "channels history language model prometheus web_api web_page",
    "terminal": "docs model",
    "influx": "model",
    "influx_server": "errors transport",
    "durable": "errors",
    "records": "",
    "mending": "durable logs records",
    "spool": "durable errors logs mending records",
    "dead": "influx records spool",
    "delivery": "dead influx influx_server logs spool",
    "timekeeping": "durable logs",
    "held": "influx spool timekeeping",
    "agent": "config dead delivery held influx influx_server logs model records spool timekeeping",
    "service": "*",
    "cli_options": "config errors",
    "cli_simulator": "* cli_options",
    "cli_spool": "* cli_options",
    "cli": "* cli_options cli_simulator cli_spool",
    "__main__": "cli",
}
"""Module → the modules of ours it may import, `*` being all but the command line's.

`__version__` is the package's only name. Sinks (`prometheus`, `influx`, `web`, `terminal`) are
siblings; only `web`, which serves what `prometheus` renders and what `history` keeps, knows others.
"""

COMMAND_LINE = {"__main__", "cli", "cli_options", "cli_simulator", "cli_spool"}
"""The top: nothing below imports any of these."""

SIMULATOR_MAY_IMPORT = {"codes", "simulator"}
"""It speaks from the protocol alone, so that a wrong decoder cannot agree with it."""

DOORS = {
    "bcrypt": "guard",
    "click": "cli cli_options cli_simulator cli_spool terminal",
    "h11": "server",
    "influxdb_client": "influx_server",
    "jinja2": "web_page",
    "prometheus_client": "prometheus",
    "pydantic": "config strict_yaml web_config",
    "pydantic_core": "strict_yaml",
    "requests": "transport",
    "rich": "terminal",
    "starlette": "guard server web",
    "urllib3": "transport",
    "uvicorn": "server",
    "yaml": "strict_yaml",
}
"""Foreign library → the modules that may import it."""

FOR_TYPES_ONLY = {("terminal", "docs")}
"""Imports that are allowed under `if TYPE_CHECKING:` and nowhere else."""

NO_ROOM = {"utils", "util", "helpers", "helper", "const", "constants", "base", "manager", "common"}


class Import(NamedTuple):
    """One imported name: `ours` if it is the project's, and whether it runs at all."""

    name: str
    ours: bool
    for_types: bool


def modules() -> dict[str, Path]:
    """Return every module by its dotted name under the package."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts)] = path
    return found


def imports(module: str, path: Path) -> list[Import]:
    """Return all imports of a module, those inside functions and `TYPE_CHECKING` too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    package = ["goe_exporter", *module.split(".")[:-1]]
    found: list[Import] = []
    for node in ast.walk(tree):
        for name in _imported(node, package):
            first, _, rest = name.partition(".")
            ours = first == "goe_exporter"
            room = (rest.split(".")[0] or "__version__") if ours else first
            found.append(Import(room, ours, id(node) in typing_only))
    return found


def _imported(node: ast.AST, package: list[str]) -> Iterator[str]:
    """Yield absolute names; of `from package import name`, the name is what was imported."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        source = ".".join([*base, *(node.module.split(".") if node.module else [])])
        if source == "goe_exporter":
            yield from (f"{source}.{alias.name}" for alias in node.names)
        else:
            yield source


MODULES = modules()
FLAT = [name for name in MODULES if "." not in name]
SIMULATOR = [name for name in MODULES if name.startswith("simulator.")]


def test_every_module_has_its_row() -> None:
    """A module that is added or removed changes the table of layers too."""
    assert set(FLAT) == set(MAY_IMPORT)


def test_the_only_inner_package_is_the_simulator() -> None:
    """The package is flat: no folder of modules but the simulator's."""
    assert set(MODULES) == set(FLAT) | set(SIMULATOR)
    assert "simulator.__init__" in SIMULATOR


@pytest.mark.parametrize("module", FLAT)
def test_module_imports_only_what_stands_below_it(module: str) -> None:
    """A module of the package imports no other module of ours than its row names."""
    ours = {found.name for found in imports(module, MODULES[module]) if found.ours}
    below = set(MAY_IMPORT.get(module, "").split())
    if "*" in below:
        below |= {"__version__", "simulator", *MAY_IMPORT} - COMMAND_LINE - {"__init__"}
    assert ours - below == set()


@pytest.mark.parametrize("module", SIMULATOR)
def test_simulator_knows_nothing_of_the_exporter(module: str) -> None:
    """The simulated charger is made of the standard library and itself, at most with `codes`."""
    found = imports(module, MODULES[module])
    assert {each.name for each in found if each.ours} <= SIMULATOR_MAY_IMPORT
    assert {each.name for each in found if not each.ours} <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", FLAT)
def test_foreign_libraries_have_their_doors(module: str) -> None:
    """Only the named modules know a library; a library without a row is known by none."""
    foreign = {found.name for found in imports(module, MODULES[module]) if not found.ours}
    foreign -= set(sys.stdlib_module_names)
    assert {name for name in foreign if module not in DOORS.get(name, "").split()} == set()


def test_types_only_imports_do_not_run() -> None:
    """The terminal knows the documentation's rows by type, without importing their module."""
    run = {
        (module, found.name)
        for module in FLAT
        for found in imports(module, MODULES[module])
        if found.ours and not found.for_types
    }
    assert run & FOR_TYPES_ONLY == set()


def test_nothing_imports_the_command_line() -> None:
    """The command line is the top: only its own parts and `python -m goe_exporter` know it."""
    above = {
        (found.name, module)
        for module, path in MODULES.items()
        for found in imports(module, path)
        if found.ours and found.name in COMMAND_LINE
    }
    assert {module for _, module in above} <= COMMAND_LINE
    assert {module for name, module in above if name == "cli"} == {"__main__"}


def test_imports_go_round_in_no_circle() -> None:
    """The modules can be ordered so that each imports only earlier ones."""
    graph = {
        module: {found.name for found in imports(module, MODULES[module]) if found.ours}
        for module in FLAT
    }
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("codes") < order.index("model") < order.index("cli")


def test_no_room_is_called_utils() -> None:
    """A module is named after what it holds, not after being useful."""
    names = {part for module in MODULES for part in module.split(".")}
    assert names & NO_ROOM == set()


def test_the_reader_of_imports_sees_every_form(tmp_path: Path) -> None:
    """Plain, relative, nested and types-only imports are all seen by these tests."""
    path = tmp_path / "sample.py"
    path.write_text(
        "import requests.adapters\n"
        "from goe_exporter import __version__, codes\n"
        "from goe_exporter.channels.model import Channel\n"
        "from . import cli\n"
        "from .web import Server\n"
        "if TYPE_CHECKING:\n    from goe_exporter.cli.channel_table import Row\n"
        "def work():\n    import yaml\n    from goe_exporter.charger.write import find\n",
        encoding="utf-8",
    )
    found = imports("sample", path)
    assert {each.name for each in found if not each.ours} == {"requests", "yaml"}
    assert {each.name for each in found if each.ours} == {
        *("__version__", "codes", "model", "cli", "web", "docs", "writer"),
    }
    assert [each.name for each in found if each.for_types] == ["docs"]
