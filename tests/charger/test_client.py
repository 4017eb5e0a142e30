"""The client of a charger: API detection, answers, failures, and writes."""

from __future__ import annotations

import json
import threading
import time
from contextlib import nullcontext
from typing import Any
from urllib.parse import unquote

import pytest
from clients import SHORT_SECONDS, impatient
from faults import HARMLESS, REASON_BY_FAULT
from paths import FIXTURES
from servers import PATIENCE_SECONDS, returned, wait_for
from speaker import Speak, Speaker

from goe_exporter.channels.decode import decode
from goe_exporter.channels.snapshot import Answer
from goe_exporter.charger.client import Client, write_targets
from goe_exporter.errors import ChargerError, RefusedError, UsageError
from goe_exporter.simulator import FAULTS, Box, Car, Charger, Simulator
from goe_exporter.transport.answer import HttpAnswer
from goe_exporter.transport.steps import Exchange

KEYS = ("car", "amp", "nrg")


@pytest.fixture
def box(simulator: Simulator) -> Box:
    """Return a charging V4 with both APIs, at 16 A."""
    charger = Charger("V4")
    charger.plug(Car(battery_wh=60_000))
    charger.advance(60)
    return simulator.add(charger)


def client(host: Box | Speaker, api: str = "auto", **options: object) -> Client:
    options = {"deadline_seconds": PATIENCE_SECONDS} | options
    return Client(host.address, api, **options)  # type: ignore[arg-type]


def answer(status: int, body: bytes) -> bytes:
    return f"HTTP/1.1 {status} Choices\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def reason(asker: Client) -> str:
    """Return the reason of a failed status."""
    with pytest.raises(ChargerError) as caught:
        asker.status(KEYS)
    return caught.value.reason


def targets(box: Box) -> list[str]:
    """Return the requests to the charger, in order."""
    return [unquote(target) for _time, target in box.log]


def live_a_second(box: Box) -> None:
    """Apply a write to the simulated charger."""
    with box.lock:
        box.charger.advance(1.1)


# Faults


def test_every_fault_has_its_reason_here() -> None:
    """The shared table has all faults of the simulator."""
    assert {*REASON_BY_FAULT, *HARMLESS} == FAULTS.keys()


@pytest.mark.parametrize(
    ("fault", "expected"), [*REASON_BY_FAULT.items(), *dict.fromkeys(HARMLESS).items()]
)
@pytest.mark.parametrize("api", ["1", "2"])
def test_fault_gives_its_reason(box: Box, fault: str, expected: str | None, api: str) -> None:
    """Each fault of a charger has a fixed reason, within the deadline."""
    box.fault = fault
    deadline = SHORT_SECONDS if expected == "timeout" else PATIENCE_SECONDS
    asker = client(box, api, deadline_seconds=deadline)
    if expected is None:
        assert asker.status(KEYS).status["amp"] == 16
    else:
        assert returned(lambda: reason(asker)) == expected
    wait_for(lambda: box.requests > 0, "the request")
    assert box.requests == 1


def test_real_contention_is_busy(box: Box) -> None:
    """A charger that serves another client for too long is `busy`."""
    box.latency, box.lock_wait_s = 3600.0, 0.1
    other = threading.Thread(target=reason, args=(client(box),))
    other.start()
    wait_for(lambda: box.requests > 0, "the other's request")
    assert reason(client(box)) == "busy"
    box.close()
    other.join()


def test_charger_off_is_refused(box: Box) -> None:
    """A charger that has left the network is `refused`."""
    box.close()
    assert reason(client(box)) == "refused"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b"Not found: /api/status", "not_found"),
        (200, b"This URI does not exist", "not_found"),
        (404, b"This URI does not exist", "not_found"),
        (404, b'{"success":false,"reason":"Data is outdated","age":99}', "outdated"),
        (403, b"Forbidden", "offline"),
        (401, b"Unauthorized", "unauthorized"),
        (502, b"Bad Gateway", "http_status"),
        (500, b"couldn't take api lock in 3s, please try again later", "busy"),
        (400, b"Bad Request", "http_status"),
        (400, b"[]", "http_status"),
        (204, b"", "http_status"),
        (200, b"", "truncated"),
        (200, b"{", "not_json"),
        (200, b'{"car":1}}', "not_json"),
        (200, b"\xef\xbb\xbf\xef\xbb\xbf{}", "not_json"),
        (200, b'{"car":' + b"1" * 5000 + b"}}", "not_json"),
        (200, b"true", "not_an_object"),
        (200, b'{"error":"not authenticated"}', "wrong_device"),
        (200, b"{}", "wrong_device"),
        (400, b"{}", "wrong_device"),
        (400, b'{"error":"bad request"}', "wrong_device"),
        (200, b'{"ison":false,"typ":"SHSW-1"}', "wrong_device"),
        (200, b'{"car":1,"amp":16,"typ":"controller"}', "wrong_device"),
        (200, b'{"success":true,"age":100,"data":{"car":"1","amp":"16"}}', "wrong_device"),
        (401, b'{"error":"not authenticated"}', "unauthorized"),
        (403, b'{"success":false}', "offline"),
        (404, b'{"detail":"Not Found"}', "not_found"),
        (500, b'{"error":"internal"}', "http_status"),
    ],
)
def test_answer_gives_its_reason(speak: Speak, status: int, body: bytes, expected: str) -> None:
    """Other answers seen from chargers and the cloud have a reason (docs/protocol.md §1)."""
    assert reason(client(speak(answer(status, body)), "2")) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"car":null}',
        b'{"nrg":null,"eto":null}',
        b'{"amp":16,"typ":null}',
        b'{"eto":0,"typ":"go-eCharger_Phoenix"}',
        b'{"car":1,"typ":"go-eCharger_V5"}',
    ],
)
def test_one_key_of_a_charger_is_enough(speak: Speak, body: bytes) -> None:
    """A status may lack most keys, hold null, and come from a model that is not known yet."""
    assert client(speak(answer(200, body)), "2").status(KEYS).status == json.loads(body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":"not authenticated"}', "an object with error: 'not authenticated'"),
        (b'{"usv":[],"typ":"wattpilot"}', "a 'wattpilot'"),
        (b"{}", "an object with no keys"),
        (b'{"a\\n\\u001b[31m":1}', "an object with a??[31m"),
    ],
)
@pytest.mark.parametrize("api", ["1", "2"])
def test_error_of_another_device_has_what_answered(
    speak: Speak, api: str, body: bytes, words: str
) -> None:
    """The error has the host and what answered, on one line."""
    speaker = speak(answer(200, body))
    with pytest.raises(ChargerError) as caught:
        client(speaker, api).status(KEYS)
    assert str(caught.value).startswith(f"{speaker.address}: not ")
    assert str(caught.value).endswith(words)


def test_head_that_ends_too_soon_is_truncated(speak: Speak) -> None:
    """An answer that ends within its headers is `truncated`."""
    assert reason(client(speak(b"HTTP/1.1 200 OK\r\nContent-"), "2")) == "truncated"


def test_bad_request_with_an_object_is_a_success(simulator: Simulator) -> None:
    """The JSON object in PRO's 400, its answer to an unknown key, is a status."""
    box = simulator.add(Charger("PRO"))
    found = client(box).status(("amp", "cbl", "nonsense"))
    assert found == Answer(2, {"amp": 16})
    assert box.requests == 1


def test_interim_response_is_skipped(speak: Speak) -> None:
    """A proxy before the cloud may send 1xx responses; the status is that of the final one."""
    speaker = speak(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"car":1}',
    )
    assert client(speaker, "2").status(["car"]).status == {"car": 1}


def test_switching_protocols_is_a_failure(speak: Speak) -> None:
    """101 is no answer, whatever follows it."""
    with pytest.raises(ChargerError) as caught:
        client(speak(b'HTTP/1.1 101 X\r\n\r\n{"car":1}'), "2").status(["car"])
    assert caught.value.reason == "http_status"


@pytest.mark.parametrize("api", ["1", "2"])
def test_byte_order_mark(speak: Speak, api: str) -> None:
    """A byte order mark before the JSON, which a proxy may add, is not part of it."""
    speaker = speak(b'HTTP/1.1 200 OK\r\n\r\n\xef\xbb\xbf{"amp":16}')
    assert client(speaker, api).status(("amp",)).status["amp"] == 16


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("digits", [4300, 4301, 5000, 100_000])
def test_integer_of_any_length(speak: Speak, digits: int, sign: str) -> None:
    """An integer with more digits than Python reads costs its key, not the poll."""
    body = f'{{"amp":16,"wh":{sign}{"9" * digits},"nrg":[230,{"9" * digits}]}}'
    speaker = speak(f"HTTP/1.1 200 OK\r\n\r\n{body}".encode())
    found = decode(client(speaker, "2").status(("amp", "wh", "nrg")).status, 2)
    assert [reading.value for reading in found.readings] == [230.0, 16.0]
    assert found.failed == {"wh", "nrg"}


def test_chunked_answer(speak: Speak) -> None:
    """A chunked status is read."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    speaker = speak(head + b'5\r\n{"amp\r\n5\r\n":16}\r\n0\r\n\r\n')
    assert client(speaker).status(("amp",)) == Answer(2, {"amp": 16})


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            200,
            b'{"wke":"wifi-password","cak":"cloud-key",,}',
            "not JSON: 43 bytes, beginning with '{'",
        ),
        (200, b"<html>wifi-password</html>", "not JSON: 26 bytes, HTML"),
        (200, b"wifi-password\nsecond\x1b[31m", "not JSON: 25 bytes, beginning with 'w'"),
        (503, b'{"wke":"wifi-password"}', "HTTP 503: 23 bytes, beginning with '{'"),
        (503, b"a" * 5000, "HTTP 503: 5000 bytes, beginning with 'a'"),
        (503, b"", "HTTP 503: empty"),
        (503, b"Service Unavailable", "HTTP 503: 'Service Unavailable'"),
        (500, b"couldn't take api lock in 3s, please try again later", "HTTP 500: \"couldn't take"),
    ],
)
def test_errors_hold_no_secret_of_the_charger(
    speak: Speak, status: int, body: bytes, words: str
) -> None:
    """The text of an error quotes only plain sentences (docs/protocol.md §3.13)."""
    speaker = speak(answer(status, body))
    with pytest.raises(ChargerError) as caught:
        client(speaker, "2").status(KEYS)
    text = str(caught.value)
    assert words in text
    assert "wifi-password" not in text
    assert len(text) < 200
    assert text.isprintable()


# Which API


def test_v2_is_preferred(box: Box) -> None:
    """A charger with both APIs is requested through v2, with exactly the given keys."""
    asker = client(box)
    assert asker.api is None
    found = asker.status(KEYS)
    assert (found.api, asker.api) == (2, 2)
    assert found.status.keys() == {"car", "amp", "nrg"}
    assert targets(box) == ["/api/status?filter=car,amp,nrg"]


@pytest.mark.parametrize(("model", "api"), [("V2", "both"), ("V4", "1")])
def test_v1_where_there_is_no_v2(simulator: Simulator, model: str, api: str) -> None:
    """V1/V2 hardware, or a charger with v2 disabled, is requested through v1 from then on."""
    box = simulator.add(Charger(model), api=api)
    asker = client(box)
    for _ in range(2):
        found = asker.status(KEYS)
        assert (found.api, asker.api) == (1, 1)
        assert found.status["amp"] == 16
    assert targets(box) == ["/api/status?filter=car,amp,nrg", "/status", "/status"]


def test_v1_answers_in_the_words_of_v2(simulator: Simulator) -> None:
    """v1's `dws`, `ast` and "1" become `wh`, `acs` and true."""
    box = simulator.add(Charger("V2"))
    status = client(box).status(KEYS).status
    assert status["acs"] == 0
    assert status["alw"] is True
    assert status["wh"] == 0
    assert "dws" not in status


@pytest.mark.parametrize("fault", ["hang", "busy", "unavailable", "empty", "html"])
def test_only_an_answer_decides(simulator: Simulator, fault: str) -> None:
    """A timeout, an error or an invalid answer does not decide the API."""
    box = simulator.add(Charger("V2"))
    box.fault = fault
    asker = client(box)
    with impatient(asker) if fault == "hang" else nullcontext():
        reason(asker)
    assert asker.api is None
    wait_for(lambda: box.requests > 0, "the request")
    assert targets(box) == ["/api/status?filter=car,amp,nrg"]
    box.fault = None
    assert asker.status(KEYS).api == 1


@pytest.mark.parametrize("fault", ["hang", "unavailable", "empty"])
def test_a_failure_does_not_change_the_api(box: Box, fault: str) -> None:
    """During and after an outage the detected API is requested again."""
    asker = client(box)
    asker.status(KEYS)
    box.fault = fault
    with impatient(asker) if fault == "hang" else nullcontext():
        reason(asker)
    assert asker.api == 2
    assert "/status" not in targets(box)


@pytest.mark.parametrize(("first", "second"), [("V4", "V2"), ("V2", "V4")])
def test_another_charger_at_the_same_address(simulator: Simulator, first: str, second: str) -> None:
    """Replaced hardware is detected in the next poll."""
    apis = {"V2": 1, "V4": 2}
    box = simulator.add(Charger(first), api="2" if first == "V4" else "both")
    asker = client(box)
    assert asker.status(KEYS).api == apis[first]
    box.charger = Charger(second)
    box.api = "2" if second == "V4" else "both"
    assert asker.status(KEYS).api == apis[second]
    assert asker.api == apis[second]


def test_api_switched_off_and_on(box: Box) -> None:
    """If the API in use is disabled in the app, the client switches to the other one."""
    asker = client(box)
    for switched_on, expected in (("2", 2), ("1", 1), ("2", 2), ("1", 1), ("both", 1)):
        box.api = switched_on
        assert asker.status(KEYS).api == expected


def test_v2_that_is_switched_on_while_v1_answers(box: Box) -> None:
    """v2 is retried after a hundred answers of v1, and after an outage."""
    box.api = "1"
    asker = client(box)
    asker.status(KEYS)
    box.api = "both"
    apis = [asker.status(KEYS).api for _ in range(100)]
    assert apis == [1] * 99 + [2]
    assert asker.status(KEYS).api == 2
    box.api = "1"
    assert asker.status(KEYS).api == 1
    box.api, box.fault = "both", "empty"
    reason(asker)
    box.fault = None
    assert asker.status(KEYS).api == 2


def test_hardware_that_has_only_v1_stays_with_it(simulator: Simulator) -> None:
    """If a retried v2 is still missing, v1 answers in the same poll."""
    asker = client(simulator.add(Charger("V2")))
    assert [asker.status(KEYS).api for _ in range(250)] == [1] * 250


def test_one_deadline_for_both_apis(simulator: Simulator) -> None:
    """The deadline of a status includes both of its requests."""
    box = simulator.add(Charger("V2"))
    asker = client(box)
    get, moments = asker._transport.get, []

    def noted(target: str, until: float | None = None) -> HttpAnswer:
        moments.append(until)
        return get(target, until)

    asker._transport.get = noted  # type: ignore[method-assign]
    before = time.monotonic()
    asker.status(KEYS)
    assert len(targets(box)) == 2
    first, second = moments
    assert first == second
    assert before <= first - PATIENCE_SECONDS <= time.monotonic()


def test_one_deadline_for_a_write(simulator: Simulator) -> None:
    """The deadline of a write includes the check of the serial number before it."""
    asker = client(simulator.add(Charger("V4", serial="218042")), serial="218042")
    get, moments = asker._transport.get, []

    def noted(target: str, until: float | None = None) -> HttpAnswer:
        moments.append((target, until))
        return get(target, until)

    asker._transport.get = noted  # type: ignore[method-assign]
    asker.write(2, "amp", 10)
    (check, first), (write, second) = moments
    assert ("sse" in check, write) == (True, "/api/set?amp=10")
    assert first == second


def test_no_api_at_all_is_not_found_and_is_not_remembered(speak: Speak) -> None:
    """If both APIs are disabled, the reason is `not_found`, and each was requested once."""
    speaker = speak(answer(404, b"This URI does not exist"))
    asker = client(speaker)
    assert reason(asker) == "not_found"
    assert asker.api is None
    asked = [request.split()[1] for request in speaker.requests]
    assert asked == ["/api/status?filter=car,amp,nrg", "/status"]


@pytest.mark.parametrize(
    ("api", "model", "expected"),
    [
        ("2", "V2", ["/api/status?filter=car,amp,nrg"] * 2),
        ("1", "V4", ["/status"] * 2),
    ],
)
def test_fixed_api_never_asks_the_other(
    simulator: Simulator, api: str, model: str, expected: list[str]
) -> None:
    """With `api` 1 or 2 the other API is never requested."""
    box = simulator.add(Charger(model), api="2")
    asker = client(box, api)
    assert asker.api == int(api)
    for _ in range(2):
        assert reason(asker) == "not_found"
    assert targets(box) == expected


# The filter of old firmware

MANY_KEYS = (
    "car amp nrg err alw acs ama adi cbl eto fna frc fwv lmo loa modelStatus oem pha psm rbc "
    "rssi sse tma"
).split()


def test_old_firmware_is_asked_ten_keys_at_a_time(simulator: Simulator) -> None:
    """Firmware before 051.4 gets `filter=["a",…]` with ten keys a request, and returns all keys."""
    box = simulator.add(Charger("V3", firmware="050"))
    asker = client(box)
    found = asker.status(MANY_KEYS)
    assert found.api == 2
    assert found.status.keys() == set(MANY_KEYS)
    new, *old = targets(box)
    assert new == f"/api/status?filter={','.join(MANY_KEYS)}"
    assert old[0] == (
        '/api/status?filter=["car","amp","nrg","err","alw","acs","ama","adi","cbl","eto"]'
    )
    assert [target.count('"') // 2 for target in old] == [10, 10, 3]
    asker.status(MANY_KEYS)
    assert targets(box)[4:] == old


def test_firmware_update_changes_the_filter(simulator: Simulator) -> None:
    """After an update to firmware without the old form, no answer is empty."""
    box = simulator.add(Charger("V3", firmware="050"))
    asker = client(box)
    asker.status(KEYS)
    box.charger.firmware = "055.7"
    assert asker.status(KEYS).status.keys() == {"car", "amp", "nrg"}
    before = box.requests
    assert asker.status(KEYS).status.keys() == {"car", "amp", "nrg"}
    assert box.requests == before + 1


def test_device_that_knows_no_key_is_not_taken_for_old(speak: Speak) -> None:
    """After empty answers to both forms the new form remains in use, and the poll has failed."""
    speaker = speak(answer(200, b"{}"))
    asker = client(speaker, "2")
    assert [reason(asker), reason(asker)] == ["wrong_device", "wrong_device"]
    asked = [unquote(request.split()[1]) for request in speaker.requests]
    assert asked == 2 * [
        "/api/status?filter=car,amp,nrg",
        '/api/status?filter=["car","amp","nrg"]',
    ]


# The vendor's cloud


def from_cloud(date: str | None, modified: str | None, body: bytes = b'{"amp":16}') -> bytes:
    """Return an answer with the header lines `Date` and `Last-Modified`."""
    lines = [f"Date: {date}"] if date else []
    lines += [f"Last-Modified: {modified}"] if modified else []
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *lines])
    return head.encode() + b"\r\n\r\n" + body


NOON = "Sun, 02 Aug 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("date", "modified", "age"),
    [
        (NOON, "Sun, 02 Aug 2026 11:59:30 GMT", 30),
        (NOON, "Sun, 02 Aug 2026 11:59:15 GMT", 45),
        (NOON, NOON, 0),
        (NOON, "Sun, 02 Aug 2026 13:59:30 +0200", 30),
        ("Thu, 01 Jan 2026 00:00:10 GMT", "Wed, 31 Dec 2025 23:59:50 GMT", 20),
        (NOON, "Sun, 02 Aug 2026 12:00:05 GMT", 0),
        (NOON, None, 0),
        (None, NOON, 0),
        (NOON, "yesterday", 0),
        (NOON, "Sun, 99 Aug 99999999999 11:59:30 GMT", 0),
        ("0", "0", 0),
    ],
)
@pytest.mark.parametrize("token", ["s3cret-t0ken", None])
def test_age_of_the_values(
    speak: Speak, date: str | None, modified: str | None, age: float, token: str | None
) -> None:
    """The age is `Date` minus `Last-Modified`, and 0 if one of them is missing or no date."""
    speaker = speak(from_cloud(date, modified))
    assert client(speaker, "2", token=token).status(("amp",)).age_seconds == age


def test_values_that_are_too_old(speak: Speak) -> None:
    """Values of more than 45 s ago are a failure."""
    speaker = speak(from_cloud(NOON, "Sun, 02 Aug 2026 11:59:14 GMT"))
    asker = client(speaker, "2", token="s3cret-t0ken")
    with pytest.raises(ChargerError) as caught:
        asker.status(("amp",))
    assert caught.value.reason == "outdated"
    assert str(caught.value) == f"{speaker.address}: the values are 46 s old"


def test_oldest_of_several_answers_counts(speak: Speak) -> None:
    """The age of a status that took two requests is that of the older one."""
    old = from_cloud(NOON, "Sun, 02 Aug 2026 11:59:40 GMT", b"{}")
    speaker = speak(old)
    asker = client(speaker, "2", token="s3cret-t0ken")
    with pytest.raises(ChargerError, match="no keys"):
        asker.status(("amp",))
    speaker.pieces = (from_cloud(NOON, "Sun, 02 Aug 2026 11:59:50 GMT"),)
    assert asker.status(("amp",)).age_seconds == 10


@pytest.mark.parametrize("firmware", ["050", "055.7"])
def test_cloud_is_asked_for_recent_values(simulator: Simulator, firmware: str) -> None:
    """With a token the age is limited to 45 s; a charger itself is not asked for an age."""
    box = simulator.add(Charger("V3", firmware=firmware))
    client(box, "2", token="s3cret-t0ken").status(KEYS)
    assert {target.rpartition("&")[2] for target in targets(box)} == {"age=45"}
    before = box.requests
    client(box, "2").status(KEYS)
    assert not any("age=" in target for target in targets(box)[before:])


# The configured serial number


@pytest.mark.parametrize(("model", "api"), [("V2", "1"), ("V4", "1"), ("V4", "2"), ("PRO", "2")])
def test_configured_serial_number(simulator: Simulator, model: str, api: str) -> None:
    """The charger with this serial number is read and written; another one never is."""
    box = simulator.add(Charger(model, serial="012345"))
    asker = client(box, api, serial="012345")
    assert asker.status(("ama",)).status["sse"] == "012345"
    asker.write(int(api), "amp", 10)
    live_a_second(box)
    assert box.charger.amp == 10
    neighbour = Charger(model, serial="222222")
    box.charger = neighbour
    before = box.requests
    for attempt in (lambda: asker.status(KEYS), lambda: asker.write(int(api), "amp", 8)):
        with pytest.raises(ChargerError) as caught:
            attempt()
        assert caught.value.reason == "wrong_device"
        assert str(caught.value) == (
            f"{box.address}: another charger answered: its serial number is '222222', not 012345"
        )
    assert box.requests == before + 2
    assert not any("set?" in target or "mqtt?" in target for target in targets(box)[before:])
    live_a_second(box)
    assert neighbour.amp == 16


def test_serial_number_is_read_immediately_before_each_write(simulator: Simulator) -> None:
    """A limit of v1 takes two writes, and the serial number is read before each of them."""
    box = simulator.add(Charger("V2", serial="012345"))
    client(box, "1", serial="012345").write(1, "dwo", 5000)
    assert targets(box) == ["/status", "/mqtt?payload=dwo=50", "/status", "/mqtt?payload=stp=2"]


@pytest.mark.parametrize("sse", [b"", b',"sse":null', b',"sse":""', b',"sse":[12345]'])
def test_no_serial_number_is_not_the_configured_one(speak: Speak, sse: bytes) -> None:
    """A charger that does not report its serial number is not taken for the configured one."""
    speaker = speak(answer(200, b'{"car":1,"amp":16' + sse + b"}"))
    asker = client(speaker, "2", serial="12345")
    with pytest.raises(ChargerError, match="its serial number is none, not 12345"):
        asker.status(KEYS)
    with pytest.raises(ChargerError, match="its serial number is none, not 12345"):
        asker.write(2, "amp", 10)
    assert not any("/api/set" in request for request in speaker.requests)


def test_hostile_serial_number_is_one_printable_line(speak: Speak) -> None:
    """Whatever another charger reports as its serial number, the error is one short line."""
    hostile = "2\n\x1b[31m\u2028" + "9" * 1000
    speaker = speak(answer(200, json.dumps({"car": 1, "sse": hostile}).encode()))
    with pytest.raises(ChargerError) as caught:
        client(speaker, "2", serial="222222").status(KEYS)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_serial_number_as_a_number(speak: Speak) -> None:
    """A serial number that the charger sends as a number is compared by its digits."""
    speaker = speak(answer(200, b'{"car":1,"sse":123456}'))
    assert client(speaker, "2", serial="123456").status(("car",)).status["sse"] == 123456


# One at a time


def test_one_request_in_flight_whoever_asks(box: Box) -> None:
    """The requests of eight threads are sent one at a time, and all are answered."""
    box.latency = 0.01
    asker = client(box)
    barrier = threading.Barrier(8)
    answers: list[Answer] = []

    def ask() -> None:
        barrier.wait()
        answers.append(asker.status(KEYS))
        asker.write(2, "amp", 10)
        answers.append(asker.status(KEYS))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 16
    assert all(each.status["nrg"] for each in answers)
    assert box.requests == 24
    assert box.max_concurrent == 1


def test_a_failure_does_not_keep_others_out(box: Box) -> None:
    """A failed request does not block the next one."""
    asker = client(box)
    box.fault = "hang"
    with impatient(asker):
        assert reason(asker) == "timeout"
        with pytest.raises(ChargerError):
            asker.write(2, "amp", 10)
    box.fault = None
    assert asker.status(KEYS).status["amp"] == 16


# Secrets


@pytest.mark.parametrize(
    "said",
    [
        answer(401, b"Unauthorized"),
        answer(403, b"Forbidden"),
        answer(404, b"Data is outdated"),
        answer(200, b"[]"),
        b"",
    ],
)
def test_token_is_in_no_url_and_no_error(speak: Speak, said: bytes) -> None:
    """The token is sent in a header; neither the URL nor the text of an error contains it."""
    speaker = speak(said)
    asker = client(speaker, token="s3cret-t0ken")
    with pytest.raises(ChargerError) as read:
        asker.status(KEYS)
    with pytest.raises((ChargerError, RefusedError)) as written:
        asker.write(2, "amp", 16)
    for request in speaker.requests:
        assert "s3cret-t0ken" not in request.splitlines()[0]
        assert "\r\nAuthorization: Bearer s3cret-t0ken\r\n" in request
    assert "s3cret-t0ken" not in f"{read.value!r} {written.value!r}"


# Writing


def test_write_v2(box: Box) -> None:
    """A write that the charger answers with true returns and is applied."""
    asker = client(box)
    asker.write(2, "amp", 10)
    assert targets(box) == ["/api/set?amp=10"]
    live_a_second(box)
    assert asker.status(("amp",)).status == {"amp": 10}


@pytest.mark.parametrize(
    ("key", "value"), [("fna", 'my "box" #1 & Ä=%20+'), ("dwo", None), ("dwo", 3500), ("frc", 1)]
)
def test_write_v2_arrives_as_it_was_meant(box: Box, key: str, value: object) -> None:
    """Quotes, `#`, `&` and null reach the charger unchanged."""
    asker = client(box)
    asker.write(2, key, value)
    live_a_second(box)
    assert asker.status((key,)).status[key] == value


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("amp", 99, "value not allowed"),
        ("nonsense", 1, "tried to set unknown api key"),
        ("eto", 1, "without setter"),
    ],
)
def test_write_v2_refused(box: Box, key: str, value: object, words: str) -> None:
    """A refusal has the charger's message, the host, and the refused value."""
    with pytest.raises(RefusedError) as caught:
        client(box).write(2, key, value)
    assert words in str(caught.value)
    assert box.address in str(caught.value)
    assert f"{key}={value}" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (500, b"0 succeeded and 2 failed.", "0 succeeded and 2 failed."),
        (500, b'{"amp":"out of range"}', "out of range"),
        (200, b'{"amp":"out of range"}', "out of range"),
        (200, b'{"amp":false}', "amp"),
        (200, b'{"amp":1}', "amp"),
        (200, b'{"frc":true}', "frc"),
        (200, b"{}", "amp"),
        (422, b'{"amp":"rejected"}', "rejected"),
        (400, b'{"amp":"unknown"}', "unknown"),
    ],
)
def test_write_v2_refusals_as_they_were_seen(
    speak: Speak, status: int, body: bytes, words: str
) -> None:
    """Only `true` in the key itself is a success; other answers are refusals."""
    with pytest.raises(RefusedError) as caught:
        client(speak(answer(status, body))).write(2, "amp", 16)
    assert words in str(caught.value)


def test_write_through_the_cloud_is_accepted_with_202(speak: Speak) -> None:
    """The cloud's 202 is a success, without further information."""
    client(speak(answer(202, b""))).write(2, "amp", 16)


CLOUD_WRITES = json.loads((FIXTURES / "answers" / "cloud_writes.json").read_text())


@pytest.mark.parametrize("said", CLOUD_WRITES, ids=lambda said: said["what"])
def test_write_through_the_cloud_by_what_was_passed_on(speak: Speak, said: dict[str, Any]) -> None:
    """The cloud lists what it passed on to the charger, and what it did not."""
    asker = client(
        speak(answer(said["status"], json.dumps(said["body"]).encode())), token="s3cret-t0ken"
    )
    if said["accepted"]:
        asker.write(2, "amp", 7)
    else:
        with pytest.raises(RefusedError) as caught:
            asker.write(2, "amp", 7)
        assert said["shown"] in str(caught.value)


def test_write_to_old_firmware(simulator: Simulator) -> None:
    """The text "1 succeeded and 0 failed." of firmware before 051.4 is a success."""
    box = simulator.add(Charger("V3", firmware="050"))
    client(box).write(2, "amp", 10)
    live_a_second(box)
    assert box.charger.amp == 10


def test_write_to_old_firmware_refused(simulator: Simulator) -> None:
    """The text "0 succeeded and 1 failed." of old firmware is a refusal."""
    box = simulator.add(Charger("V3", firmware="050"))
    with pytest.raises(RefusedError, match="0 succeeded and 1 failed"):
        client(box).write(2, "amp", 99)


@pytest.mark.parametrize("api", [1, 2])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("busy", "busy"),
        ("unauthorized", "unauthorized"),
        ("not_found", "not_found"),
        ("hang", "timeout"),
        ("reset", "truncated"),
        ("unavailable", "http_status"),
    ],
)
def test_write_that_fails_is_no_refusal(box: Box, api: int, fault: str, expected: str) -> None:
    """A failed request of a write is a `ChargerError` with its reason, not a refusal."""
    box.fault = fault
    asker = client(box)
    with (
        impatient(asker) if expected == "timeout" else nullcontext(),
        pytest.raises(ChargerError) as caught,
    ):
        asker.write(api, "amp", 16)
    assert caught.value.reason == expected
    wait_for(lambda: box.requests > 0, "the request")
    assert box.requests == 1


def test_write_v1(simulator: Simulator) -> None:
    """v1 accepts `key=value` as a payload; the energy limit needs two."""
    box = simulator.add(Charger("V2"))
    asker = client(box)
    asker.write(1, "amp", 10)
    asker.write(1, "dwo", 5500)
    assert targets(box) == ["/mqtt?payload=amp=10", "/mqtt?payload=dwo=55", "/mqtt?payload=stp=2"]
    live_a_second(box)
    status = asker.status(KEYS).status
    assert (status["amp"], status["dwo"]) == (10, 5500)


def test_write_v1_refused_shows_only_in_the_status(simulator: Simulator) -> None:
    """v1 does not report a refusal: the write returns, and the value is unchanged."""
    box = simulator.add(Charger("V2"))
    asker = client(box)
    asker.write(1, "amp", 99)
    live_a_second(box)
    assert asker.status(KEYS).status["amp"] == 16


@pytest.mark.parametrize(
    ("api", "key", "value", "expected"),
    [
        (2, "amp", 16, ["/api/set?amp=16"]),
        (2, "dwo", None, ["/api/set?dwo=null"]),
        (2, "dwo", 3500, ["/api/set?dwo=3500"]),
        (2, "fup", True, ["/api/set?fup=true"]),
        (2, "awp", -1.5, ["/api/set?awp=-1.5"]),
        (2, "trx", None, ["/api/set?trx=null"]),
        (2, "fna", "my charger", ["/api/set?fna=%22my%20charger%22"]),
        (2, "fna", 'a "b" #1', ["/api/set?fna=%22a%20%5C%22b%5C%22%20%231%22"]),
        (2, "fna", "a&b=c+d%/?", ["/api/set?fna=%22a%26b%3Dc%2Bd%25%2F%3F%22"]),
        (1, "amp", 16, ["/mqtt?payload=amp=16"]),
        (1, "tcl", 8, ["/mqtt?payload=amx=8"]),
        (1, "alw", True, ["/mqtt?payload=alw=1"]),
        (1, "alw", False, ["/mqtt?payload=alw=0"]),
        (1, "acs", 2, ["/mqtt?payload=ast=2"]),
        (1, "dwo", 5500, ["/mqtt?payload=dwo=55", "/mqtt?payload=stp=2"]),
        (1, "dwo", None, ["/mqtt?payload=dwo=0", "/mqtt?payload=stp=0"]),
    ],
)
def test_write_targets(api: int, key: str, value: object, expected: list[str]) -> None:
    """A value is URL-encoded JSON on v2, and plain text in v1's terms on v1."""
    assert write_targets(api, key, value) == expected


@pytest.mark.parametrize("key", ["frc", "trx", "psm", "fna", "awp"])
def test_v1_has_no_words_for_everything(key: str) -> None:
    """A key that v1 cannot write is refused before anything is sent."""
    with pytest.raises(UsageError, match=key):
        write_targets(1, key, 1)


def test_v1_that_needs_the_time_of_both_requests() -> None:
    """A poll that ends between the APIs is continued by the next one with API v1."""
    asker, tried = Client("box.example"), []

    def request(api: int, _keys: object) -> Exchange[Answer]:
        yield from ()
        tried.append(api)
        if tried == [2]:
            raise ChargerError("not_found", "no v2")
        if tried == [2, 1]:
            raise ChargerError("timeout", "did not answer in time")
        return Answer(1, {"car": 1}, complete=True)

    asker._request = request  # type: ignore[method-assign]
    assert reason(asker) == "timeout"
    assert asker.status(KEYS).api == 1
    assert tried == [2, 1, 1]
