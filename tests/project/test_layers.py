"""Imports point down, sinks are siblings, and each foreign library is imported in one place."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import goe_exporter

PACKAGE = Path(goe_exporter.__file__).parent
MAX_ENTRIES = 21
MAX_LINES = 350

ROOMS = {
    "__init__": "",
    "errors": "",
    "logs": "",
    "durable": "errors logs",
    "transport": "errors",
    "channels": "errors",
    "config": "errors",
    "spool": "durable errors logs",
    "charger": "channels config errors transport",
    "http_server": "config errors logs",
    "polling": "channels errors logs transport",
    "influx": "channels config durable errors logs polling spool transport",
    "prometheus": "channels errors polling",
    "simulator": "",
    "surplus": "config errors transport",
    "control": "channels charger durable errors logs polling surplus",
    "sessions": "channels config durable errors logs polling",
    "web": "channels control errors polling prometheus sessions",
    "service": (
        "channels charger config control durable errors http_server influx logs polling prometheus"
        " sessions surplus web"
    ),
    "cli": "*",
}
"""Room → the rooms it may import; `*` is every room.

The sinks are `influx`, `prometheus`, `sessions` and `web`; only `web`, which serves what
`prometheus` renders and renders the report of `sessions`, knows others, and of `control` the frozen
vitals. The simulator shares no code with the exporter, so that a wrong decoder cannot agree with a
wrong simulator.
"""

DOORS = {
    "asyncio": "http_server simulator web.renderer",
    "bcrypt": "http_server.auth",
    "click": "cli",
    "h11": "http_server",
    "http": "transport",
    "influxdb_client": "influx.write_api",
    "jinja2": "web.pages",
    "prometheus_client": "prometheus",
    "pydantic": (
        "config charger.settings influx.settings http_server service.config sessions.settings"
        " surplus.config"
    ),
    "pydantic_core": "config.mistakes",
    "requests": "transport",
    "socket": "http_server service.systemd simulator transport",
    "sqlite3": "sessions",
    "ssl": "config.certificates http_server transport",
    "starlette": "http_server web",
    "urllib.request": "transport",
    "urllib3": "transport",
    "uvicorn": "http_server.server http_server.connection",
    "yaml": "config.yaml_file",
    "zeroconf": "charger.discovery",
}
"""Library → the rooms or modules that may import it. Of the standard library, only modules that
reach the network, and SQLite, are listed. Any room except `channels` may import the others."""

PURE = {
    *("__future__", "collections", "dataclasses", "datetime", "decimal", "difflib", "enum"),
    *("functools", "itertools", "json", "math", "operator", "re", "typing"),
}
"""What pure modules may import of the standard library: nothing that reads, writes, waits or logs.
"""

PURE_MODULES = {
    "channels",
    *(
        f"control.{name}"
        for name in (*("charger_view", "energy", "log_lines", "preconditions", "rules", "vitals"),)
    ),
    *(
        f"sessions.{name}"
        for name in (
            *(
                "condenser",
                "energy",
                "ledger",
                "memory",
                "observation",
                "opening",
                "session",
                "step",
            ),
            *("tariff", "tracker"),
        )
    ),
    *(
        f"surplus.{name}"
        for name in (
            *(
                "charging",
                "decision",
                "feed",
                "follow",
                "lease",
                "limits",
                "memory",
                "person",
                "proof",
            ),
            *("settings", "situation", "supply", "wear", "writes"),
        )
    ),
}
"""Rooms and modules that are pure."""

IMPORTERS = {"cli.main": "import_module"}
"""The module that imports by a computed name: each command, when it runs."""

VAGUE_NAMES = {
    *("utils", "util", "helpers", "helper", "const", "constants", "base", "manager", "common"),
}


class Import(NamedTuple):
    """An import in `module` of `name`, a module of the package (`ours`) or a foreign library."""

    module: str
    name: str
    ours: bool


def modules() -> dict[str, Path]:
    """Return every module of the package by its dotted name, a package by its own."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imports(module: str, source: str) -> Iterator[Import]:
    """Yield all imports of a module, those inside functions and for types only too."""
    package = (
        module.split(".")
        if MODULES.get(module, Path()).name == "__init__.py"
        else module.split(".")[:-1]
    )
    for node in ast.walk(ast.parse(source)):
        for name in _names(node, ["goe_exporter", *package]):
            first, _, rest = name.partition(".")
            if first == "goe_exporter":
                yield Import(module, _module_of(rest), ours=True)
            else:
                library = "urllib.request" if name.startswith("urllib.request") else first
                yield Import(module, library, ours=False)


def _names(node: ast.AST, package: list[str]) -> Iterator[str]:
    """Yield absolute dotted names, `package.name` for each name of a `from` import."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package[: len(package) - node.level + 1] if node.level else []
        source = ".".join([*base, *(node.module.split(".") if node.module else [])])
        yield from (f"{source}.{alias.name}" for alias in node.names)


def _module_of(dotted: str) -> str:
    """Return the module of a dotted name: its longest prefix that is a module."""
    parts = dotted.split(".")
    ends = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((name for name in ends if name in MODULES), "__init__")


IMPORTS = [
    found
    for module, path in MODULES.items()
    for found in imports(module, path.read_text(encoding="utf-8"))
]


def room(module: str) -> str:
    """Return the room of a module."""
    return module.split(".", maxsplit=1)[0]


def test_every_room_has_a_rule() -> None:
    """A room that is added or removed changes the table."""
    assert {room(name) for name in MODULES} == set(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_room_imports_only_rooms_below_it(name: str) -> None:
    """A room imports no other room than its rule allows."""
    allowed = set(ROOMS) if ROOMS[name] == "*" else {*ROOMS[name].split(), name}
    found = {
        (each.module, each.name)
        for each in IMPORTS
        if each.ours and room(each.module) == name and room(each.name) not in allowed
    }
    assert found <= VERSIONS


VERSIONS = {
    (module, "__init__")
    for module in ("service.self_metrics", "service.service", "web.openapi", "web.pages")
}
"""Modules that import the package itself, for its version."""


def test_web_knows_only_the_vitals_of_control() -> None:
    """The web server cannot reach the control loop, which writes to the charger."""
    found = {each.name for each in IMPORTS if room(each.module) == "web" and each.ours}
    assert {name for name in found if room(name) == "control"} == {"control.vitals"}


def test_simulator_needs_the_standard_library_only() -> None:
    """The simulated charger imports no foreign library."""
    foreign = {each.name for each in IMPORTS if room(each.module) == "simulator" and not each.ours}
    assert foreign <= set(sys.stdlib_module_names)


def test_foreign_libraries_have_their_doors() -> None:
    """Only the named rooms and modules import a library; no other library is imported."""
    found = {
        (each.name, each.module)
        for each in IMPORTS
        if not each.ours and (each.name not in sys.stdlib_module_names or each.name in DOORS)
    }
    strangers = {
        (library, module)
        for library, module in found
        if not {room(module), module} & set(DOORS.get(library, "").split())
    }
    assert strangers == set()


def test_pure_modules() -> None:
    """Channels and the surplus decision import nothing that reads, writes, waits or logs."""
    assert set(MODULES) | set(ROOMS) >= PURE_MODULES
    found = {
        each.name
        for each in IMPORTS
        if {room(each.module), each.module} & PURE_MODULES and not each.ours
    }
    assert found <= PURE


def test_no_import_is_hidden() -> None:
    """Only the lazy command line imports by a computed name."""
    for module, path in MODULES.items():
        source = path.read_text(encoding="utf-8")
        hidden = [name for name in ("import_module", "__import__") if name in source]
        assert hidden == IMPORTERS.get(module, "").split(), module


def test_imports_form_no_circle() -> None:
    """The modules can be ordered so that each imports only earlier ones, the simulator's too."""
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for each in IMPORTS:
        if each.ours and each.name != each.module:
            graph[each.module].add(each.name)
    order = list(TopologicalSorter(graph).static_order())
    assert order.index("channels.codes") < order.index("channels.table") < order.index("cli.read")


def test_package_is_small() -> None:
    """The package has few entries, and no module is long."""
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= MAX_ENTRIES
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


def test_no_module_has_a_vague_name() -> None:
    """A module is named after its content."""
    assert {part for module in MODULES for part in module.split(".")} & VAGUE_NAMES == set()


def test_every_form_of_import_is_seen() -> None:
    """These tests see plain, relative, nested and types-only imports."""
    source = (
        "import requests.adapters\n"
        "from goe_exporter import __version__, logs\n"
        "from goe_exporter.channels import codes\n"
        "from goe_exporter.channels.model import Channel\n"
        "from . import dead_letters\n"
        "from .agent import Agent\n"
        "if TYPE_CHECKING:\n    from goe_exporter.spool.queue import Spool\n"
        "def work():\n    import yaml\n"
    )
    found = list(imports("influx.sample", source))
    assert {each.name for each in found if not each.ours} == {"requests", "yaml"}
    assert {each.name for each in found if each.ours} == {
        *(
            "__init__",
            "logs",
            "channels.codes",
            "channels.model",
            "influx.dead_letters",
            "influx.agent",
        ),
        "spool.queue",
    }
