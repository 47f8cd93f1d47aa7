"""Evaluation runs read for a description: what is wrong with them is counted, not refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from router.eval.collect.answers import Answer
from router.eval.collect.log_file import LogFile
from router.eval.runs_description import Grading
from router.training.run_files import expand_paths, read_chunks
from router.training.run_table import RunTable
from router.training.runs import Runs, runs_digest
from router.training.schema import RunsError

__all__ = ["prompt_labels", "read_as_found", "truncated_answers"]

_CONTRADICTION = "two grades of one answer"
_SHOWN = 5


def read_as_found(paths: Sequence[str | Path]) -> tuple[Runs, Grading]:
    """Read evaluation runs and leave out the rows that cannot be used.

    Parameters
    ----------
    paths : sequence of path
        Files and folders, as for :func:`router.training.ingest.load_runs`.

    Returns
    -------
    runs : Runs
        The good rows.
    grading : Grading
        How many others there are. Of rows that contradict each other all are left out.

    Raises
    ------
    RunsError
        If a file cannot be read, its columns are wrong, or no good row is left.
    """
    files, problems = expand_paths(paths)
    table = RunTable()
    for path in files:
        for chunk in read_chunks(path):
            table.add(str(path), chunk)
    checked = table.finish()
    problems.extend(checked.problems)
    if any(problem.row is None for problem in problems) or checked.frame.empty:
        raise RunsError(problems)
    rows = {(p.file, p.row): p.kind == _CONTRADICTION for p in problems}
    runs = Runs(
        frame=checked.frame,
        digest=runs_digest(checked.frame, checked.embeddings),
        files=tuple(map(str, files)),
        n_read=checked.n_read,
        n_repeated=checked.n_repeated,
        problems=tuple(problems),
        embeddings=checked.embeddings,
    )
    n_contradictory = sum(rows.values())
    return runs, Grading(
        files=runs.files,
        n_rows=runs.n_read,
        n_repeated=runs.n_repeated,
        n_bad=len(rows) - n_contradictory,
        n_contradictory=n_contradictory,
        examples=tuple(map(str, problems[:_SHOWN])),
        truncated=truncated_answers(paths),
    )


def truncated_answers(paths: Sequence[str | Path]) -> dict[str, int] | None:
    """Count the answers that were cut off, in folders that ``wattroute collect`` wrote.

    Parameters
    ----------
    paths : sequence of path
        Files and folders of runs.

    Returns
    -------
    dict of str to int or None
        Answers of each model with the finish reason ``length``; None where no path is such a
        folder.

    Raises
    ------
    DataError
        If a stored answer is damaged.
    """
    cut: dict[tuple[str, str, str], bool] = {}
    files = [Path(path) / "collect" / "answers.jsonl" for path in paths]
    stored = [file for file in files if file.is_file()]
    for file in stored:
        for record in LogFile.records(file):
            if record.get("kind") == "answer":
                answer = Answer.from_dict(record)
                cut[str(file), answer.model, answer.key] = answer.truncated
    counts = Counter(model for (_, model, _), truncated in cut.items() if truncated)
    return dict(counts) if stored else None


def prompt_labels(runs: Runs, column: str) -> list[tuple[str, ...]] | None:
    """Return the labels that each prompt's rows have in a column.

    Parameters
    ----------
    runs : Runs
        Checked evaluation runs.
    column : str
        Name of a column of texts, such as ``source`` or ``split``.

    Returns
    -------
    list of tuple of str or None
        Sorted labels of each prompt, in the order of the prompt ids; None without the column.
    """
    if column not in runs.frame:
        return None
    rows = runs.frame[["prompt_id", column]].dropna().drop_duplicates()
    found: list[set[str]] = [set() for _ in runs.frame["prompt_id"].cat.categories]
    for code, label in zip(rows["prompt_id"].cat.codes, rows[column], strict=True):
        found[code].add(str(label))
    return [tuple(sorted(labels)) for labels in found]
