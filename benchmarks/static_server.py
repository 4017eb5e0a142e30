"""Serves `/metrics` of unchanging chargers: `python -m benchmarks.static_server COUNT`.

Prints its port.
"""

from __future__ import annotations

import sys
from functools import partial
from urllib.parse import urlsplit

from benchmarks import chargers
from goe_exporter.http_server.server import Server
from goe_exporter.polling.scheduler import Scheduler
from goe_exporter.prometheus.exposition import Exposition
from goe_exporter.prometheus.process import process_metrics
from goe_exporter.service.self_metrics import polling
from goe_exporter.web.app import application
from goe_exporter.web.content import Content
from goe_exporter.web.history import History


def main(count: int) -> None:
    """Serve `count` chargers until SIGTERM."""
    with chargers.one() as poller:
        views = chargers.fleet(poller.view(), count)
    own = partial(polling, Scheduler(()))
    exposition = Exposition(lambda: views, [own, process_metrics()])
    server = Server([("127.0.0.1", 0)])
    print(urlsplit(server.urls[0]).port, flush=True)
    server.run(application(Content(lambda: views, exposition, History())))


if __name__ == "__main__":
    main(int(sys.argv[1]))
