"""`python -m benchmarks [--write] [NAME…]`: print all benchmarks, or those named, as a table.

With `--write` and no names, the table replaces that of the last run in benchmarks/README.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import (
    abuse,
    control,
    fleet,
    pages,
    poll,
    rival,
    scrape,
    session_sums,
    sessions,
    spool,
    startup,
    surplus,
)

README = Path(__file__).parent / "README.md"
HEAD = "| what | figure | ratio |\n|---|---|---|\n"
ALL = {
    "poll": poll.measure,
    "rival": rival.measure,
    "scrape": scrape.measure,
    "startup": startup.measure,
    "spool": spool.measure,
    "fleet": fleet.measure,
    "pages": pages.measure,
    "abuse": abuse.measure,
    "control": control.measure,
    "sessions": sessions.measure,
    "surplus": surplus.measure,
    "session_sums": session_sums.measure,
}


def main(arguments: list[str]) -> None:
    """Print the table row by row, and write it with `--write`."""
    names = [argument for argument in arguments if argument != "--write"]
    table = HEAD
    print(HEAD, end="")
    for name in names or ALL:
        for row in ALL[name]():
            line = f"| {' | '.join(row)} |\n"
            print(line, end="", flush=True)
            table += line
    if "--write" in arguments and not names:
        before, _head, _table = README.read_text("utf-8").partition(HEAD)
        README.write_text(before + table, "utf-8")


main(sys.argv[1:])
