from __future__ import annotations

import json
from dataclasses import replace

import pytest

from router.calibration import Calibration, GroupEvidence
from router.dial import Setting
from router.floors import FloorEvidence
from router.training.promise import (
    promise_cell,
    promise_rows,
    promise_section,
    promise_summary,
    promises_anything,
)

ALL = GroupEvidence(
    name="",
    n=400,
    reference_quality=0.8,
    kept=(0.99, 0.9),
    energy=(0.612, 0.2),
    spread=(0.4, 0.3),
    steps=((2, 1, 1, 0), (1, 1, 0, 0)),
)
DEAR = replace(ALL, name="maths", n=60, energy=(1.2, 1.1))


@pytest.fixture
def calibration() -> Calibration:
    return Calibration(
        path=(Setting(0.1, 0.0), Setting(0.2, 0.0)),
        confidences=(0.8, 0.9),
        bars=(0.9, 0.95, 0.98, 1.0),
        groups=(ALL, DEAR),
        floors=FloorEvidence(400, (), (), (), (), ()),
        method="exact",
        date="2026-11-23",
        data_digest="ab",
    )


def test_cells_are_energies_or_what_is_missing(calibration: Calibration) -> None:
    assert promise_cell(calibration, 0.9, 0.8, "") == "0.20"
    assert promise_cell(calibration, 0.95, 0.9, "") == "0.61"
    assert promise_cell(calibration, 0.98, 0.9, "") == "no (about 7,213)"
    assert promise_cell(calibration, 1.0, 0.9, "") == "no"
    assert promise_cell(calibration, 0.9, 0.8, "maths") == "1.00"


def test_rows_are_confidences_and_kinds(calibration: Calibration) -> None:
    rows = promise_rows(calibration)
    assert [row[:3] for row in rows] == [
        ("all traffic", "400", "0.8"),
        ("all traffic", "400", "0.9"),
        ("maths", "60", "0.9"),
    ]
    assert all(len(row) == 7 for row in rows)


def test_the_section_of_a_card(calibration: Calibration) -> None:
    lines = promise_section(calibration, "big")
    assert lines[0] == "## Promise"
    assert "400 prompts that training did not see (2026-11-23, method `exact`)" in lines[2]
    assert "| all traffic | 400 | 0.8 | 0.20 | 0.61 | 0.61 | no |" in lines
    widths = {line.count("|") for line in lines if line.startswith("|")}
    assert widths == {8}
    assert lines[-1] == ""
    assert "None: this version was not certified" in promise_section(None, "big")[2]


def test_the_summary_is_json(calibration: Calibration) -> None:
    summary = promise_summary(calibration)
    assert summary is not None
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert len(summary["promises"]) == 2 * 2 * 4
    first = summary["promises"][0]
    assert (first["bar"], first["holds"], first["energy"]) == (0.9, True, 0.2)
    assert promise_summary(None) is None


def test_whether_anything_is_promised(calibration: Calibration) -> None:
    assert promises_anything(calibration)
    nothing = replace(ALL, steps=((2, 1, 1, 0), (0, 0, 0, 0)))
    assert not promises_anything(replace(calibration, groups=(nothing, DEAR)))
