from __future__ import annotations

from dataclasses import replace

import numpy as np

from router.eval.report.runs_section import runs_html, runs_sections, runs_summary
from router.eval.report.runs_text import render_runs
from router.eval.runs_description import Grading, describe_runs


def titles(description) -> list[str]:
    return [section.title for section in runs_sections(description)]


def test_findings_are_said_first(matrix, pool):
    twice = matrix.rows([*range(300), 5])
    twice = replace(twice, prompt_ids=(*twice.prompt_ids[:-1], "again"))
    grading = Grading(files=("a.csv",), n_rows=900, n_bad=1, n_contradictory=4, examples=("row 7",))
    found = describe_runs(
        twice,
        pool,
        splits=[("train",)] * 300 + [("test",)],
        test=matrix.rows([0, 1]),
        grading=grading,
        seeds=[0],
    )
    assert found.findings() == (
        "1 row cannot be used",
        "4 rows contradict another grade of the same answer",
        "1 of 1 prompts of test are in train too",
        "2 of 2 prompts of the test runs are in the runs too",
    )
    assert runs_summary(found).tone == "bad"
    text = render_runs(found)
    assert text.startswith("Mend these runs first. 1 row cannot be used.")
    assert "Row to mend: row 7" in text
    assert "Leakage between splits" in titles(found)


def test_sections_are_whole(matrix, pool):
    found = describe_runs(matrix, pool, sources=["a"] * 150 + ["b"] * 150, seeds=[0, 1])
    assert titles(found) == [
        "What there is",
        "Qualities",
        "Tokens",
        "Repeated prompts",
        "Label noise",
        "Ladder: the smallest right model",
        "Headroom",
        "Coverage by task",
        "Coverage by source",
    ]
    for section in runs_sections(found):
        table = section.table
        assert all(len(row) == len(table.headers) == len(table.align) for row in table.rows)


def test_the_page_is_safe_and_whole(matrix, pool):
    tasks = ("<script>alert(1)</script>", *matrix.tasks[1:])
    page = runs_html(describe_runs(replace(matrix, tasks=tasks), pool, seeds=[0]))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "No bad rows or contradictory grades were found" in page
    assert page.count("<table") >= 8


def test_gaps_are_what_a_terminal_shows_of_coverage(matrix, pool):
    text = render_runs(describe_runs(matrix, seeds=[0]))
    n_sums = matrix.tasks.count("sums")
    missing = matrix.tasks[:30].count("sums")
    assert f"sums      {n_sums}  large" in text or f"sums   {n_sums:>7}  large" in text
    assert f"{1 - missing / n_sums:.0%}" in text
    whole = describe_runs(matrix.rows(range(30, 300)))
    assert "Every model was graded on every prompt." in render_runs(whole)


def test_almost_everything_is_not_everything(matrix):
    quality = np.ones((300, 3))
    quality[0, 0] = np.nan
    almost = replace(matrix, quality=quality, tasks=("",) * 300)
    rows = runs_sections(describe_runs(almost))[-1].table.rows
    assert rows == (("(none)", "300", ">99%", "100%", "100%"),)


def test_what_was_looked_for_is_said(matrix):
    splits = [("train",)] * 200 + [("test",)] * 100
    assert "or leaks between splits" in runs_summary(describe_runs(matrix, splits=splits)).answer
    assert "leaks" not in runs_summary(describe_runs(matrix)).answer
