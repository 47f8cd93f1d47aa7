"""Numbers that several processes write."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.serve.shared_values import SharedValues


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("abcä"), st.floats(-1e6, 1e6)), max_size=40
    )
)
def test_sums_are_over_all_workers(steps: list[tuple[int, str, float]]):
    values = SharedValues(3, capacity=8)
    writers = [values.writer(worker) for worker in range(3)]
    expected: dict[str, float] = {}
    for worker, key, amount in steps:
        writers[worker].add(writers[worker].slot(key), amount)
        expected[key] = expected.get(key, 0.0) + amount
    totals = values.totals()
    assert totals.keys() == expected.keys()
    for key, total in expected.items():
        assert totals[key] == pytest.approx(total, abs=1e-3)


def test_processes_share_them(run_python: Callable[..., str]):
    code = """
        import os
        from router.serve.shared_values import SharedValues
        values = SharedValues(2)
        process = os.fork()
        if process == 0:
            writer = values.writer(1)
            writer.add(writer.slot("answers"), 5.0)
            os._exit(0)
        assert os.waitpid(process, 0)[1] == 0
        writer = values.writer(0)
        writer.add(writer.slot("answers"), 2.0)
        print(values.totals())
    """
    assert run_python(code) == "{'answers': 7.0}\n"


def test_a_worker_that_takes_anothers_place_goes_on():
    values = SharedValues(1)
    for _ in range(2):
        writer = values.writer(0)
        writer.add(writer.slot("a"), 1.0)
        writer.set(writer.slot("b"), 4.0)
    assert values.totals() == {"a": 2.0, "b": 4.0}


def test_what_does_not_fit_is_left_out():
    values = SharedValues(1, capacity=2)
    writer = values.writer(0)
    assert [writer.slot(key) for key in ("a", "b", "c")] == [0, 1, -1]
    assert writer.slot("x" * 300) == -1
    writer.add(-1, 1.0)
    writer.set(-1, 1.0)
    assert values.totals() == {"a": 0.0, "b": 0.0}


def test_a_row_that_there_is_not():
    with pytest.raises(ValueError, match="worker is 2"):
        SharedValues(2).writer(2)
