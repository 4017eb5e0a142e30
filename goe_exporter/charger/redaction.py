"""Remove from a status what its owner may not want to publish. Pure.

A status holds names, Wi-Fi keys, tokens, card ids and addresses (docs/protocol.md §3.13), and new
firmware adds keys. So a value is kept only if its key is listed here and its form is the one that
the key is known for. All other values are removed, except null, booleans and what is empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from goe_exporter.channels.table import CHANNELS

MAX_NUMBER = 1e16

_KEY = re.compile(r"(?=.{2,8}$)[a-z]+[0-9]?[a-z_]*")
_NUMERIC_TEXT = re.compile(r"-?[0-9]{1,10}(\.[0-9]{1,6})?")
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_FIRMWARE = re.compile(
    r"(V )?[0-9]{1,3}(\.[0-9]{1,3}){0,2}([- ]?(rc|beta|alpha)[0-9]{0,2})?", re.IGNORECASE
)
_OFFERED_FIRMWARE = re.compile(rf"{_FIRMWARE.pattern}( (BETA|OUTDATED))?", re.IGNORECASE)
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6}){0,2}"
    r"( ?[+-][0-9]{2}:[0-9]{2})?"
)


_KINDS: dict[type, str] = {str: "text", list: "list", dict: "object"}


class Redacted(NamedTuple):
    """A status without private values, and the places of the removed ones with their types."""

    status: dict[str, object]
    removed: tuple[str, ...]


Keep = Callable[[object, str, list[str]], object]
"""Returns what may be kept of a value at a place, and adds the removed places to the list."""


def redacted(status: Mapping[str, object]) -> Redacted:
    """Return a status of API v1 or v2 with every private value replaced by its type.

    An unknown key that does not look like a key is left out, because it may be private itself.
    """
    removed: list[str] = []
    kept: dict[str, object] = {}
    for key, value in status.items():
        if key in _KEPT or _KEY.fullmatch(key):
            kept[key] = _KEPT.get(key, _nothing)(value, key, removed)
        else:
            removed.append("a key with its value")
    return Redacted(kept, tuple(dict.fromkeys(removed)))


def _nothing(value: object, place: str, removed: list[str]) -> object:
    """Remove a value unless it cannot be private: null, a boolean, or empty."""
    if value is None or isinstance(value, bool) or value in ("", [], {}):
        return value
    kind = _KINDS.get(type(value), "number")
    removed.append(f"{place}: {kind}")
    return f"[removed: {kind}]"


def _number(value: object, place: str, removed: list[str]) -> object:
    """Keep a number; API v1 sends it as text."""
    return value if _is_numeric(value) else _nothing(value, place, removed)


def _is_numeric(value: object) -> bool:
    if isinstance(value, str):
        return _NUMERIC_TEXT.fullmatch(value) is not None
    return isinstance(value, int | float) and -MAX_NUMBER < value < MAX_NUMBER


def _text(pattern: re.Pattern[str]) -> Keep:
    """Keep a text of a fixed form."""

    def keep(value: object, place: str, removed: list[str]) -> object:
        if isinstance(value, str) and pattern.fullmatch(value):
            return value
        return _nothing(value, place, removed)

    return keep


def _or_number(keep: Keep, kind: type) -> Keep:
    """Keep a value by `keep` if it has this type, else a number: the APIs differ."""
    return lambda value, place, removed: (
        keep if isinstance(value, kind) and not _is_numeric(value) else _number
    )(value, place, removed)


def _each(keep: Keep) -> Keep:
    """Keep the items of a list."""

    def keep_items(value: object, place: str, removed: list[str]) -> object:
        if not isinstance(value, list):
            return _nothing(value, place, removed)
        return [keep(item, f"{place}[]", removed) for item in value]

    return keep_items


def _object(names: re.Pattern[str], private: str = "") -> Keep:
    """Keep the members `names`, if they hold a number, and the names of the `private` ones."""
    removed_names = private.split()

    def keep(value: object, place: str, removed: list[str]) -> object:
        if not isinstance(value, dict):
            return _nothing(value, place, removed)
        kept: dict[str, object] = {}
        for name, member in value.items():
            if names.fullmatch(name):
                kept[name] = _number(member, f"{place}.{name}", removed)
            elif name in removed_names:
                kept[name] = _nothing(member, f"{place}.{name}", removed)
            else:
                removed.append(f"{place}: a member with its value")
        return kept

    return keep


_V1_NUMBERS = """
tme rbc rbt car amp amx err ast alw stp cbl pha tmp amt dws dwo adi uby eto wst txi wen cdi tof tds
lbr aho afi azo ama al1 al2 al3 al4 al5 lse ust r1x dto nmo sdp fsp
eca ecr ecd ec4 ec5 ec6 ec7 ec8 ec9 ec1 loe lom lop lon lof loa lch mce mcc
"""
_V2_NUMBERS = """
acl acp acs acu acui adi alw alwt ama amp amt ara asc ate att aus avgfhz awc awe awp bac
c0e c1e c2e c3e c4e c5e c6e c7e c8e c9e car cbl cco cert clea cmmr cmse csa csd cus cwe
deltaa deltap di1 die dii din dwo emx err esk eto eto_mid etop facacs fcc fck ffb fhi fhz fmt frc
frm fsc fse fsi fsp fsptws fst fup fzf gmtr gsa hai hla hsa inva isgo iso2en la1 la3 lbl lbp lbr
lccfc lccfi lcctc lch lck lcm lcs lfspt lmo lmsc loa loe lof lop lopr loty lpc lpsc lrc lrr lse lto
lwf mca mcc mcca mce mci mcpd mcpea mcr men mhe mlra mmp mod modelStatus mptwt mpwst mqcn mqg
mqss msb msca mscs msi msp msr mstr mstw nld nmo
ocppa ocppaa ocppai ocppao ocppc ocppca ocppcm ocppcn ocppcs ocppe ocppf ocppfai ocppff ocppg ocpph
ocppi ocppla ocpplea ocpplo ocppr ocpprl ocpps ocppss ocppte orsch osr
pakku pdi pgr pgrid pgt pnp po ppv psh psm psmd pvopt_averagePAkku pvopt_averagePGrid
pvopt_averagePPv pwm rbc rbt rdbf rdbfe rdbs rdbse rde rdef rdefe rdes rdese rdpl rdple rdre rdree
rfb rmaf rmav rmif rmiv rsa rsre rsrr rssi scaa scas sdp sh shut simo sock spl3 stao su sua sumd
tab tcl tds ten tlf tls tof tpa trx tse tsss txt ufa ufe ufm ufs upo ust uve uvs uvt var
wb wbw wda wg wh wh_mid whb whg who whs wo ws wsc wsms wst zfo
"""
_LIMITS = re.compile(
    "|".join(
        path[1]
        for row in CHANNELS
        if row.key == "cll"
        for part in row.parts
        for path in part.paths
        if isinstance(path[1], str)
    )
)
_PRICE = _object(re.compile("start|end|marketprice"))

_KEPT: dict[str, Keep] = {
    **dict.fromkeys(_V1_NUMBERS.split(), _number),
    **dict.fromkeys(_V2_NUMBERS.split(), _number),
    **dict.fromkeys(("clp", "map", "nrg", "tma", "ccp", "ips", "iim"), _each(_number)),
    **dict.fromkeys(("cec", "cpc"), _each(_each(_number))),
    "usv": _each(_object(re.compile("u[123N]"))),
    "isv": _each(_object(re.compile("[ipf]"))),
    "pha": _or_number(_each(_number), list),
    "awcp": _PRICE,
    "awpl": _each(_PRICE),
    "cdi": _or_number(_object(re.compile("type|value")), dict),
    "cll": _object(_LIMITS),
    "lot": _or_number(_object(re.compile("amp|dyn|sta|ts")), dict),
    **dict.fromkeys(("cid", "cch", "cfi", "cwc"), _or_number(_text(_COLOR), str)),
    **dict.fromkeys(("utc", "loc"), _text(_TIME)),
    "version": _text(re.compile(r"[A-Z]")),
    "fwv": _text(_FIRMWARE),
    "ocu": _each(_text(_OFFERED_FIRMWARE)),
    "typ": _text(re.compile(r"go-eCharger(_[A-Z][A-Za-z0-9]{1,11})?|controller")),
    "oem": _text(re.compile(r"go-e")),
    "rev": _text(re.compile(r"V?[0-9]{1,2}(\.[0-9]{1,2}){0,2}")),
    "cards": _each(_object(re.compile("energy"), "name cardId")),
}
"""Key → what of its value may be kept.

The keys are those of the vendor's documents and of public captures. Left out are names (`fna`,
`c0n`), ids (`sse`, `c0i`, `ocppti`), networks (`wifis`, `ccw`, `dns`), addresses (`mcu`, `ocppu`,
`data`), schedules (`sch`), error messages (`cle`) and free text (`ct`, a Controller's `ccn`).
"""
