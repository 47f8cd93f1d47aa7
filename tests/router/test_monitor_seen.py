from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.monitor.seen import SeenRequests


@given(st.lists(st.text(), max_size=20), st.text())
def test_a_request_is_new_once_and_stays_known(ids, other):
    seen = SeenRequests()
    assert [seen.is_new(name) for name in ids] == [
        name not in ids[:i] for i, name in enumerate(ids)
    ]
    copy = SeenRequests.from_text(seen.to_text())
    assert copy.to_text() == seen.to_text()
    assert copy.is_new(other) == (other not in ids)
    assert not any(copy.is_new(name) for name in ids)


def test_any_text_can_be_an_id():
    seen = SeenRequests()
    assert seen.is_new("lone surrogate \ud800")
    assert not seen.is_new("lone surrogate \ud800")


@pytest.mark.parametrize("text", ["x", "AAAA", "*" * 11, None, 5])
def test_damaged_text_is_refused(text):
    with pytest.raises((TypeError, ValueError)):
        SeenRequests.from_text(text)
