from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from router.cli import main

PROMPT = "Sort these words alphabetically: pear, apple, fig."


def invoke(*arguments: str, code: int = 0, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(main, ["explain", *arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    path = tmp_path / "runs.csv"
    path.write_text(
        "prompt,model,quality,task\n"
        f'"{PROMPT}",gemma-3-27b,1,words\n'
        f'"{PROMPT}",somebody-else,0,words\n'
        "What is 12 + 34?,gemma-3-27b,0.25,sums\n",
        encoding="utf-8",
    )
    return path


def test_the_whole_explanation():
    text = invoke(PROMPT, "--quality", "0.9", "--no-guard", "--uncertified", "estimate").stdout
    for part in (
        "Quality bar: 0.9 of the reference model",
        "one joule must buy",
        "Promise: ",
        "the greatest is chosen",
        "an average training prompt",
        "words and word pairs",
        "this prompt",
        "Chosen for this prompt at bars from 0.005 to 1",
        "Nearest graded prompts, with what each model scored",
    ):
        assert part in text
    assert "Novelty" not in text


def test_what_may_not_be_chosen_may_be_worth_more():
    options = ("--no-guard", "--uncertified", "estimate", "--quality", "0.9")
    shown = json.loads(invoke(PROMPT, *options, "--json").stdout)
    best = shown["decision"]["model"]
    others = [m for m in shown["decision"]["ranking"] if m != best]
    allowed = [word for model in others for word in ("--allow", model)]
    assert "of\nthe models that may be." in invoke(PROMPT, *options, *allowed).stdout


def test_novelty_is_told_where_the_guard_is_on():
    result = invoke("¿¿¿ " * 50)
    assert "as here" in result.stdout
    assert "a fixed model serves, whatever the prompt" in result.stdout
    assert "unlike those of training" in result.stderr


def test_json():
    shown = json.loads(invoke(PROMPT, "--json").stdout)
    assert set(shown) == {
        "decision",
        "candidates",
        "priced",
        "evidence",
        "bars",
        "bar_step",
        "novelty_level",
        "nearest",
    }
    assert [row["trained_on"] for row in shown["nearest"]] == [True] * 5


def test_nearest_prompts_from_runs(runs: Path):
    text = invoke(PROMPT, "--runs", str(runs)).stdout
    rows = text.split("Nearest graded prompts")[1].splitlines()
    assert rows[3].split()[:3] == ["0.000", "no", "1.00"]
    assert PROMPT in rows[3]
    assert "sums" in rows[4]
    assert "somebody-else" not in text


def test_hashes_instead_of_texts(runs: Path):
    text = invoke(PROMPT, "--runs", str(runs), "--hashes", "--nearest", "1").stdout
    assert PROMPT not in text
    shown = json.loads(invoke(PROMPT, "--runs", str(runs), "--hashes", "--json").stdout)
    assert len(shown["nearest"]) == 2
    assert all("excerpt" not in row and len(row["text_hash"]) == 12 for row in shown["nearest"])


def test_standard_input_and_messages(tmp_path: Path):
    assert "Quality bar" in invoke("-", stdin=PROMPT).stdout
    path = tmp_path / "chat.json"
    path.write_text(json.dumps([{"role": "user", "content": PROMPT}]))
    assert "Quality bar" in invoke("--messages", str(path)).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give either TEXT or --messages"),
        (("a", "--messages", "b.json"), "give either TEXT or --messages"),
        ((" ",), "the prompt is empty"),
        (("a", "--quality", "2"), "quality is 2.0"),
        (("a", "--allow", "nobody"), "nobody"),
        (("a", "--router", "nowhere"), "nowhere"),
        (("a", "--runs", "nowhere.csv"), "nowhere.csv"),
        (("a", "--nearest", "-1"), "-1"),
        (("a", "--runs", "a.csv", "--default-runs"), "either --runs or --default-runs"),
    ],
)
def test_wrong_usage_is_no_traceback(arguments: tuple[str, ...], message: str):
    result = invoke(*arguments, code=2)
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_without_the_training_extra(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("router.cli.explain.entry_points", lambda group, name: ())
    assert "wattroute[train]" in invoke("a", "--runs", "runs.csv", code=2).stderr
