"""Values no charger should send, for the tests that say what becomes of them."""

from __future__ import annotations

from hypothesis import strategies as st

HUGE = 10**400
"""An integer that JSON can spell and no float can hold."""

TEXTS = (
    "",
    " \t ",
    'say "hi"',
    "two\nlines",
    "back\\slash\\n",
    '"} 1\ngoe_up{charger="forged"} 1',
    "half a pair \ud83d",
    "\udc00\ud800",
    "🚗🔌",
    "nul \x00 bell \x07 escape \x1b[31m",
    "line \u2028 next \x85 carriage \r return",
    "<script>alert(1)</script>",
    "x" * 10_000,
    "é" * 10_000,
)

NUMBERS = (
    *(0, 1, -1, 2, 3, 4, 15, 16, 255, 256, 65_535, 65_536, 10**12, 10**18, 2**63, -(2**63)),
    *(HUGE, -HUGE, -0.0, 0.1, -0.0015, 2.5, -16_843.01, 1e15, 1e300, -1e308, 5e-324),
    *(float("nan"), float("inf"), float("-inf")),
)

DIGITS = ("0", "1", "2", "-15", "3.5", "63", "64", "180", "1e5", "nan", "inf", "9" * 19, "9" * 5000)

ODD: tuple[object, ...] = (None, True, False, *NUMBERS, *DIGITS, *TEXTS, [], {}, [[]], {"": 1})
"""One of each kind of value that something somewhere might trip over."""

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-40, 70_000)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20)
    | st.sampled_from([*NUMBERS, *DIGITS, *TEXTS])
)

ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(st.sampled_from(["energy", "name", "\ud800"]), inner, max_size=2)
    ),
    max_leaves=8,
)
"""Whatever a JSON parser can hand over, nested, with what only a lenient one hands over."""
