"""`python -m benchmarks [NAME…]`: all benchmarks, or those named, as a table."""

from __future__ import annotations

import sys

from benchmarks import abuse, cycle, fleet, pages, scrape, spool

ALL = {
    "cycle": cycle.measure,
    "scrape": scrape.measure,
    "spool": spool.measure,
    "fleet": fleet.measure,
    "pages": pages.measure,
    "abuse": abuse.measure,
}

print("| what | figure | ratio |\n|---|---|---|")
for name in sys.argv[1:] or ALL:
    for row in ALL[name]():
        print(f"| {' | '.join(row)} |", flush=True)
