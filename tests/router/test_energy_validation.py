from __future__ import annotations

import csv
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import router.energy as energy_package
from router.energy import Catalogue, Coefficients
from router.energy.measurements import kernel_measurements, measurements
from router.energy.serving_fit import fit_serving
from router.energy.validation import STATISTICS, Group, Ratio, documented, validate


def test_the_measurements_are_complete() -> None:
    rows = measurements()
    assert len(rows) == 548
    assert Counter(row.gpu for row in rows) == {"H100": 274, "B200": 274}
    assert {row.task for row in rows} == {"chat", "gpqa", "code-completion"}
    for row in rows:
        assert row.date == "2026-02"
        assert row.source.startswith("ML.ENERGY leaderboard v3, ml-energy/leaderboard@")
        assert min(row.joules_per_completion_token, row.completion_tokens, row.batch) > 0
        assert Catalogue.default().find(row.model).name == row.model
    assert len(set(rows)) == len(rows)


def test_the_kernel_measurements_are_complete() -> None:
    rows = kernel_measurements()
    assert Counter(row.phase for row in rows) == {"decode": 214, "prefill": 117}
    assert all(row.date == "2026-11" and row.source and row.joules_per_token > 0 for row in rows)


@pytest.mark.parametrize("name", ["architectures", "catalogue", "measurements", "validation"])
def test_every_row_of_every_table_has_a_date_and_a_source(name: str) -> None:
    path = Path(energy_package.__file__ or "").parent / "data" / f"{name}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(re.fullmatch(r"\d{4}-\d\d", row["date"]) and row["source"] for row in rows)


@pytest.mark.parametrize(
    ("name", "task", "gpus"), [("Qwen3-32B", "chat", 2), ("gpt-oss-20b", "gpqa", 1)]
)
def test_the_catalogue_rests_on_the_measurements(name: str, task: str, gpus: int) -> None:
    (row,) = (
        row
        for row in measurements()
        if (row.model, row.gpu, row.task, row.gpus, row.batch) == (name, "H100", task, gpus, 64)
    )
    entry = Catalogue.default().find(name)
    assert entry.joules_per_completion_token == pytest.approx(
        row.joules_per_completion_token, abs=5.1e-5
    )


def test_a_fit_finds_the_serving_factor_that_made_the_data() -> None:
    truth = replace(
        Coefficients.default(),
        serving={"k0": 0.1, "k_G": 0.2, "k_moe": -0.3, "k_B": 0.05, "k_moeB": 0.4},
    )
    rows = [r for r in measurements() if r.gpu == "H100"]
    made = [replace(row, joules_per_completion_token=row.predict(truth)) for row in rows]
    assert fit_serving(made).serving == pytest.approx(truth.serving)


def test_the_shipped_serving_factor_is_near_a_fit() -> None:
    rows = [
        row
        for row in measurements()
        if row.gpu == "H100" and row.task != "code-completion" and 16 <= row.batch <= 1024
    ]
    fitted = fit_serving(rows).serving
    shipped = Coefficients.default().serving
    assert max(abs(fitted[key] - shipped[key]) for key in shipped) < 0.05


def test_the_documented_table_is_reproduced() -> None:
    statistics = {group.name: group.statistics() for group in validate()}
    checks = documented()
    assert {c.group for c in checks} == set(statistics)
    assert Counter(c.group for c in checks) == dict.fromkeys(statistics, len(STATISTICS))
    for check in checks:
        found = statistics[check.group][check.statistic]
        assert check.low <= check.documented <= check.high
        assert check.holds(found), (check, found)
        assert check.date
        assert check.source
    table = {
        "B = 64, chat": (0.14, 0.46, 0.93, 0.95, 1.24),
        "B = 64, GPQA": (0.22, 0.47, 0.97, 0.97, 1.49),
        "least energy with ITL <= 500 ms, chat": (0.16, 0.52, 0.92, 0.91, 1.29),
    }
    for name, row in table.items():
        found = [statistics[name][key] for key in STATISTICS[1:6]]
        assert found[:2] == pytest.approx(row[:2], abs=0.035), name
        assert found[2:] == pytest.approx(row[2:], abs=0.015), name


def test_a_model_plays_no_part_in_its_own_prediction() -> None:
    rows = measurements()
    tripled = [
        replace(row, joules_per_completion_token=3 * row.joules_per_completion_token)
        if row.model == "Qwen3-32B"
        else row
        for row in rows
    ]

    def predictions(group: Group) -> dict[str, float]:
        return {row.name: row.predicted_j for row in group.rows}

    before, after = predictions(validate(rows)[0]), predictions(validate(tripled)[0])
    assert after["Qwen/Qwen3-32B"] == before["Qwen/Qwen3-32B"]
    assert after["Qwen/Qwen3-14B"] != before["Qwen/Qwen3-14B"]


def test_other_measurements_leave_the_documented_ranges() -> None:
    doubled = [
        replace(row, joules_per_completion_token=2 * row.joules_per_completion_token)
        if row.task == "gpqa"
        else row
        for row in measurements()
    ]
    statistics = {group.name: group.statistics() for group in validate(doubled)}
    outside = [c for c in documented() if not c.holds(statistics[c.group][c.statistic])]
    assert {c.group for c in outside} >= {"B = 64, chat", "B = 64, GPQA"}


def group(predicted: list[float], measured: list[float]) -> Group:
    pairs = zip(predicted, measured, strict=True)
    return Group("g", tuple(Ratio(str(i), p, m) for i, (p, m) in enumerate(pairs)))


def test_statistics_by_hand() -> None:
    found = group([1.0, 2.0, 8.0], [1.0, 4.0, 4.4]).statistics()
    assert found["n"] == 3
    assert found["median_error"] == pytest.approx(0.5)
    assert found["spearman"] == 1.0
    # 4.0 and 4.4 are too close to tell apart
    assert found["pairs_in_order"] == 1.0
    # the ratios 1, 1/2 and 20/11 differ by 2, 20/11 and 40/11
    assert found["pair_ratio_error"] == pytest.approx(2.0)
    assert found["ratio_median"] == pytest.approx(1.0)
    assert group([2.0, 1.0], [1.0, 2.0]).statistics()["pairs_in_order"] == 0.0


def test_rank_correlation_agrees_with_its_definition_where_values_tie() -> None:
    rng = np.random.default_rng(3)
    predicted, measured = rng.integers(1, 6, (2, 30)).astype(float)
    found = group(predicted.tolist(), measured.tolist()).statistics()["spearman"]

    def ranks(values: np.ndarray) -> list[float]:
        return [float(np.sum(values < v) + (np.sum(values == v) + 1) / 2) for v in values]

    assert found == pytest.approx(np.corrcoef(ranks(predicted), ranks(measured))[0, 1])


def test_a_single_configuration_has_no_pairs() -> None:
    found = group([1.0], [2.0]).statistics()
    assert found["ratio_median"] == 0.5
    for name in ("spearman", "pairs_in_order", "pair_ratio_error"):
        assert math.isnan(found[name])
        check = replace(documented()[0], low=-1e9, high=1e9)
        assert not check.holds(found[name])


def test_equal_values_have_no_rank_correlation() -> None:
    assert math.isnan(group([1.0, 1.0], [1.0, 2.0]).statistics()["spearman"])
