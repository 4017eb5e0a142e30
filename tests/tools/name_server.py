"""A name server on a loopback address of its own, which can fall silent."""

from __future__ import annotations

import os
import socketserver
import struct
import threading
from pathlib import Path
from typing import Self

import pytest

ADDRESS = f"127.77.{os.getpid() // 250 % 250}.{os.getpid() % 250 + 1}"
"""Another one for each run of the tests, as several may run at once."""

HEADER_BYTES = 12
NO_ERROR, SERVER_FAILURE = 0, 2


class NameServer(socketserver.UDPServer):
    """Says that every name is 127.0.0.1, as long as it is not `silent`; a context manager.

    Names are asked for at port 53, so it takes root; `within` makes a command ask here.
    """

    allow_reuse_address = True

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can be a name server")
        super().__init__((ADDRESS, 53), _Question)
        self.silent = False
        self.broken = False
        self.questions = 0
        self._resolv = folder / "resolv.conf"
        self._resolv.write_text(f"nameserver {ADDRESS}\noptions timeout:1 attempts:1\n")
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_args: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    @property
    def within(self) -> tuple[str, ...]:
        """A command that runs the one after it where names are asked for here."""
        script = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
        return ("unshare", "--mount", "sh", "-c", script, str(self._resolv))


class _Question(socketserver.BaseRequestHandler):
    server: NameServer

    def handle(self) -> None:
        """Answer with an address if one of IPv4 is wanted, with nothing else."""
        self.server.questions += 1
        if self.server.silent:
            return
        question, channel = self.request
        end = question.index(b"\0", HEADER_BYTES) + 5
        (kind,) = struct.unpack_from("!H", question, end - 4)
        found = kind == 1 and not self.server.broken
        code = SERVER_FAILURE if self.server.broken else NO_ERROR
        head = question[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, int(found), 0, 0)
        answer = struct.pack("!HHHIH4B", 0xC00C, 1, 1, 0, 4, 127, 0, 0, 1) if found else b""
        channel.sendto(head + question[HEADER_BYTES:end] + answer, self.client_address)
