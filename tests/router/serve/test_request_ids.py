from __future__ import annotations

import re

from router.serve.request_ids import RequestIds


def test_ids_are_of_one_shape_and_never_come_twice():
    ids = RequestIds()
    drawn = [ids.draw() for _ in range(1000)]
    assert len(set(drawn)) == 1000
    assert all(re.fullmatch(r"wr-[0-9a-f]{24}", one) for one in drawn)


def test_two_workers_draw_different_ids():
    assert RequestIds().draw() != RequestIds().draw()
