"""Every input that fuzzing kept, and inputs from hypothesis, through the fuzz targets.

The targets in `tests/fuzz/` assert the guarantees; `tests/fuzz/README.md` has the long runs.
"""

from __future__ import annotations

import sys

import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import corpus
from tests.fuzz.targets import TARGETS

KEPT = [(name, data) for name in TARGETS for data in corpus.inputs(name)]
FIXED = settings(examples(50), derandomize=True)


def test_each_target_has_a_corpus() -> None:
    """Each target has kept inputs, and no file belongs to a removed target."""
    kept = {path.stem for path in corpus.FOLDER.glob("*.txt")}
    assert kept == set(TARGETS)
    assert {path.stem for path in corpus.FOLDER.glob("*.dict")} <= kept


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs(name: str) -> None:
    """Inputs that reached new code, or found a bug, keep every guarantee."""
    for data in corpus.inputs(name):
        try:
            TARGETS[name](data)
        except BaseException:
            print(f"the input: {data!r}", file=sys.stderr)
            raise


@pytest.mark.parametrize("name", TARGETS)
@FIXED
@given(data=st.binary(max_size=300))
def test_any_bytes(name: str, data: bytes) -> None:
    """No bytes break a guarantee."""
    TARGETS[name](data)
