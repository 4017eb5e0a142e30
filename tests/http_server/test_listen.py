"""The addresses on which the web server listens, with real sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from commands import Goe, Launch
from exporters import Exporter
from servers import PATIENCE_SECONDS, answers, free_port, wait_for
from starlette.responses import PlainTextResponse

from goe_exporter.errors import UsageError
from goe_exporter.http_server import server as server_module
from goe_exporter.http_server.server import Server
from goe_exporter.simulator import Charger, Simulator

OPTION = "--web.listen-address"


def free(host: str, port: int) -> bool:
    """Return whether an address can be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.suppress(OSError), socket.create_server((host, port), family=family):
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not free("::1", 0), reason="no IPv6 here")


@pytest.fixture
def taken() -> Iterator[int]:
    """Yield a port of 127.0.0.1 on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


# One address


def test_port_in_use(taken: int) -> None:
    """A port in use is a `UsageError` that names the address."""
    with pytest.raises(UsageError) as caught:
        Server([("127.0.0.1", taken)])
    assert str(caught.value) == (
        f"{OPTION}: cannot listen on 127.0.0.1:{taken}: Address already in use"
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_foreign_address(host: str) -> None:
    """An address of another host is a `UsageError` that names the address."""
    with pytest.raises(UsageError, match=f"{host}:0"):
        Server([(host, 0)])


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1"),
        pytest.param("::1", "http://[::1]", marks=needs_ipv6),
    ],
)
def test_url(host: str, url: str) -> None:
    """The URL holds the host and the actual port."""
    with contextlib.closing(Server([(host, 0)])) as server:
        [found] = server.urls
    assert found == f"{url}:{urlsplit(found).port}/"
    assert urlsplit(found).port


def test_all_interfaces() -> None:
    """An empty host listens on IPv4 and IPv6, and the URL names localhost."""
    with contextlib.closing(Server([("", 0)])) as server:
        [url] = server.urls
        port = urlsplit(url).port
        assert url == f"http://localhost:{port}/"
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS):
            pass
        if socket.has_dualstack_ipv6():
            with socket.create_connection(("::1", port), timeout=PATIENCE_SECONDS):
                pass


# Several addresses


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield the URLs of a server on IPv4 and IPv6, and on a second port of IPv4."""
    made: list[server_module._Uvicorn] = []

    class Recorded(server_module._Uvicorn):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(server_module, "_Uvicorn", Recorded)
    server = Server([("127.0.0.1", 0), ("::1", 0), ("127.0.0.1", 0)])
    thread = threading.Thread(target=server.run, args=(PlainTextResponse("here"),))
    thread.start()
    wait_for(lambda: bool(made) and made[0].started, "the web server")
    yield server.urls
    server.stop()
    thread.join()


@needs_ipv6
def test_every_address_answers(served: list[str]) -> None:
    """A server answers on all of its addresses; port 0 is another free port each time."""
    assert [urlsplit(url).hostname for url in served] == ["127.0.0.1", "::1", "127.0.0.1"]
    assert urlsplit(served[0]).port != urlsplit(served[2]).port
    assert [answers(url) for url in served] == [True, True, True]


def test_one_of_several_in_use(taken: int) -> None:
    """If one address cannot be used, the server listens on none."""
    first = free_port()
    with pytest.raises(UsageError, match=f"127.0.0.1:{taken}: Address already in use"):
        Server([("127.0.0.1", first), ("127.0.0.1", taken)])
    assert free("127.0.0.1", first)


@pytest.mark.system
@needs_ipv6
def test_serve_on_ipv4_and_ipv6(launch: Launch) -> None:
    """`serve` listens on each address that is given, logs them all, and ends on SIGTERM."""
    with Simulator() as simulator:
        box = simulator.add(Charger())
        command = launch(
            *("serve", f"garage={box.address}", "--refresh-interval", "1s"),
            *(OPTION, "127.0.0.1:0", OPTION, "[::1]:0"),
        )
        exporter = Exporter(command)
        other = command.line(r'event="additional address" url="?(http://\[::1\]:\d+/)')[1]
        assert urlsplit(exporter.url).hostname == "127.0.0.1"
        exporter.wait('goe_up{charger="garage"}', 1)
        exporter.url = other
        assert exporter.value('goe_up{charger="garage"}') == 1


@pytest.mark.system
@needs_ipv6
def test_addresses_of_the_environment(launch: Launch) -> None:
    """The variable holds several addresses, separated by spaces."""
    command = launch(
        "serve", "garage=127.0.0.1:1", GOE_EXPORTER_WEB_LISTEN_ADDRESS="127.0.0.1:0 [::1]:0"
    )
    assert answers(f"{Exporter(command).url}-/healthy")
    assert answers(f"{command.line(r'additional address.* url=.?(http://[^ ]*/)')[1]}-/healthy")


@pytest.mark.system
def test_serve_with_one_address_in_use(launch: Launch, taken: int) -> None:
    """The error names the address that cannot be used; nothing is served on the other one."""
    first = free_port()
    addresses = (OPTION, f"127.0.0.1:{first}", OPTION, f"127.0.0.1:{taken}")
    outcome = launch("serve", "a", *addresses).end()
    message = f"{OPTION}: cannot listen on 127.0.0.1:{taken}: Address already in use"
    assert outcome == (2, "", f"goe-exporter: {message}\n")
    assert free("127.0.0.1", first)


@pytest.mark.parametrize(
    "command", [("serve", "a", "--config.check"), ("demo",)], ids=["serve", "demo"]
)
@pytest.mark.parametrize("addresses", [("192.0.2.1:9",) * 2, ("[2001:db8::1]:9", ":8") * 2])
def test_the_same_address_twice(
    goe: Goe, command: tuple[str, ...], addresses: tuple[str, ...]
) -> None:
    """An address that is given twice is wrong usage, before anything listens."""
    outcome = goe(*command, *(part for address in addresses for part in (OPTION, address)))
    assert outcome == (2, "", f"goe-exporter: {OPTION}: {addresses[0]} is given twice\n")


def test_a_demo_on_another_than_loopback(goe: Goe, taken: int) -> None:
    """Each address of `demo` must be a loopback address, not only the first."""
    outcome = goe("demo", OPTION, f"127.0.0.1:{taken}", OPTION, "0.0.0.0:0")
    assert outcome == (2, "", f"goe-exporter: {OPTION}: must be a loopback address\n")


def test_a_charger_has_one_address(goe: Goe, taken: int) -> None:
    """`simulate` rejects a second address instead of ignoring one of them."""
    outcome = goe("simulate", "--listen", "127.0.0.1:0", "--listen", f"127.0.0.1:{taken}")
    message = "--listen: must be given once, as a charger has one address"
    assert outcome == (2, "", f"goe-exporter: {message}\n")
