"""The part of an unfiltered v2 status without readings, about 8 kB.

Names, secrets and addresses are invented; the types are those of a real status
(docs/protocol.md §3.13).
"""

from __future__ import annotations

NO_ADDRESS = "0.0.0.0"  # noqa: S104, a value in the status; nothing listens on it
NO_STATION = "00:00:00:00:00:00"
BROKER = "mqtt://***:***@mqtt.example:1883"


def _wifi(ssid: str) -> dict[str, object]:
    addresses = ("staticIp", "staticSubnet", "staticGateway")
    servers = ("staticDns0", "staticDns1", "staticDns2")
    return {
        "ssid": ssid,
        "key": "***" if ssid else False,
        "useStaticIp": False,
        **dict.fromkeys(addresses, NO_ADDRESS),
        "useStaticDns": False,
        **dict.fromkeys(servers, NO_ADDRESS),
    }


def _neighbour(number: int) -> dict[str, object]:
    return {
        "ssid": f"neighbour-{number}",
        "encryptionType": 3,
        "rssi": -60 - 3 * number,
        "channel": 1 + number,
        "bssid": NO_STATION,
        "f": [4, 4, True, True, True, False, False, False, False, "DE"],
    }


def _schedule() -> dict[str, object]:
    midnight = {"hour": 0, "minute": 0, "second": 0}
    return {"control": 0, "ranges": [{"begin": midnight, "end": midnight}] * 2}


_NULLS = (
    "atp ccd cmp ctrls evt fwc inva lbp lccfc lcctc lfspt lmr lrc lri lrr mcca mcpea mlr "
    "mlra ocppaa ocppca ocpple ocpplea ocppti rdbfe rdbse rdefe rdese rdple rdree smd tls tsi "
    "wfb"
)
_FALSE = (
    "aus awe cmse csa di1 die esk fsptws fzf hla isgo loe mce mcc mcs men msb nmo ocppa ocppao "
    "ocppc ocppcn ocppe ocppr ocpprl ocpps ocppss pdi pgr rde su sua tlf ufe"
)
_TRUE = "acp ara cwe dii hai lse mcr mqcn mqg mqss msr ocppg ocppla ocpplo simo tse upo wda"
_ZEROS = (
    "awc bac ffb lof loty mci mcpd mmp ocppai ocppcs ocppi pgt rdbf rdbs rdef rdes rdpl rdre sdp "
    "tsss ufm wsc"
)

PADDING: dict[str, object] = {
    **dict.fromkeys(_NULLS.split()),
    **dict.fromkeys(_FALSE.split(), False),
    **dict.fromkeys(_TRUE.split(), True),
    **dict.fromkeys(_ZEROS.split(), 0),
    "wifis": [_wifi("home"), _wifi("garage"), *(_wifi("") for _ in range(8))],
    "scan": [_neighbour(number) for number in range(10)],
    "wsm": f'106713902404 WIFI_STA_DISCONNECTED ssid="home" bssid={NO_STATION} reason=6',
    "wsl": [[106713902404 + step, "home", NO_STATION, "NOT_AUTHED"] for step in range(6)],
    "wst": 3,
    "wsms": 3,
    "wcb": NO_STATION,
    "wpb": [NO_STATION],
    "ccw": {
        "ssid": "home",
        "encryptionType": 3,
        "channel": 8,
        "bssid": NO_STATION,
        "ip": "192.0.2.10",
        "netmask": "255.255.255.0",
        "gw": "192.0.2.1",
        "ipv6": ["FE80::1"],
    },
    "nif": "st",
    "dns": {"dns0": "192.0.2.1", "dns1": NO_ADDRESS, "dns2": NO_ADDRESS},
    "tof": 60,
    "tds": 1,
    "tzt": "",
    "led": {
        "id": 16,
        "name": "Pulsate",
        "norwayOverlay": True,
        "modeOverlay": True,
        "subtype": "renderCmds",
        "ranges": [
            {"from": 0, "to": 15, "fade": "2048ms", "colors0": ["#FF00DA"], "colors1": ["#000000"]},
            {"from": 16, "to": 31, "colors": ["#000000"]},
        ],
    },
    "cid": "#0000FF",
    "cwc": "#FFFF00",
    "cch": "#00FFFF",
    "cfi": "#00FF00",
    "clp": [6, 10, 12, 14, 16],
    "la1": 16,
    "la3": 16,
    "lck": 2,
    "sch_week": _schedule(),
    "sch_satur": _schedule(),
    "sch_sund": _schedule(),
    "mca": 6,
    "frm": 1,
    "fst": 1400,
    "fmt": 300000,
    "att": 32400,
    "ate": 20000,
    "cco": 20,
    "sh": 200,
    "psh": 500,
    "po": -300,
    "zfo": 200,
    "psmd": 10000,
    "sumd": 10000,
    "mpwst": 120000,
    "mptwt": 600000,
    "ct": "",
    "log": "",
    "lop": 50,
    "lot": {"amp": 32, "dyn": 32, "sta": 32, "ts": 0},
    "map": [1, 2, 3],
    "pwm": 1,
    "spl3": 4200,
    "ocu": [f"V 055.{number} OUTDATED" for number in range(9)],
    "cle": "esp_transport_poll_read() returned -1, transport_error=ESP_OK, tls_error_code=0",
    "msp": 502,
    "mcu": BROKER,
    "ocppu": "",
    "ocppd": "no-card",
    "ocpph": 3600,
    "cmmr": 20,
    "cms": "_go-e_controller",
    "data": '{"i":120,"url":"https://data.example/data?token=***"}',
    "dll": "https://data.example/export?e=***",
}
"""Keys whose values never change."""
