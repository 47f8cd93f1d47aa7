"""Verifiers of reasoning-gym evaluate what models write: they do it where it can do no harm."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.errors import ConfigError, DataError
from router.eval.grading import GradingItem
from router.eval.suites import ReasoningGymVerifier, SuitePrompt, reasoning_gym_prompts
from router.eval.suites.reasoning_gym import parse_suite

SUITE = "chain_sum+spiral_matrix+leg_counting+polynomial_multiplication:size=2,seed=7"


@pytest.fixture(scope="module")
def prompts() -> dict[str, list[SuitePrompt]]:
    found: dict[str, list[SuitePrompt]] = {}
    for prompt in reasoning_gym_prompts(SUITE):
        found.setdefault(prompt.task, []).append(prompt)
    return found


def right_answer(prompt: SuitePrompt) -> Any:
    import reasoning_gym

    if prompt.metadata["entry"] is not None:
        return prompt.metadata["entry"]["answer"]
    made = reasoning_gym.create_dataset(prompt.metadata["dataset"], **prompt.metadata["config"])
    return made[prompt.metadata["index"]]["answer"]


@pytest.fixture(scope="module")
def verifier() -> Iterator[ReasoningGymVerifier]:
    verifier = ReasoningGymVerifier(time_s=1.0)
    yield verifier
    verifier.close()


def quality(verifier: ReasoningGymVerifier, prompt: SuitePrompt, answer: str) -> float:
    item = GradingItem(prompt.prompt, f"<answer>{answer}</answer>", None, prompt.metadata)
    return verifier.grade(item).quality


def test_right_answers_score_one_and_wrong_ones_less(
    verifier: ReasoningGymVerifier, prompts: dict[str, list[SuitePrompt]]
):
    for task in prompts.values():
        for prompt in task:
            assert quality(verifier, prompt, right_answer(prompt)) == 1.0
            assert quality(verifier, prompt, "no idea") <= 0.05


def test_the_answer_is_found_in_what_was_written(
    verifier: ReasoningGymVerifier, prompts: dict[str, list[SuitePrompt]]
):
    prompt = prompts["chain_sum"][0]
    right = right_answer(prompt)
    for text in (f"Let me add.\n<answer> {right} </answer>", f"The answer is {right}.", right):
        assert (
            verifier.grade(GradingItem(prompt.prompt, text, None, prompt.metadata)).quality == 1.0
        )


def test_hostile_answers_do_no_harm(
    verifier: ReasoningGymVerifier, prompts: dict[str, list[SuitePrompt]], tmp_path: Path
):
    """The verifier of spiral_matrix passes what begins with a bracket to eval."""
    prompt = prompts["spiral_matrix"][0]
    trace = tmp_path / "trace"
    for answer in (
        f"[open({str(trace)!r}, 'w').write('x')]",
        f"[__import__('os').system('touch {trace}')]",
        f"[__import__('subprocess').run(['touch', {str(trace)!r}])]",
        "[__import__('os').kill(__import__('os').getppid(), 9)]",
        "[__import__('socket').create_connection(('127.0.0.1', 22))]",
        "[__import__('os')._exit(0)]",
        "[open('score', 'w').write('1.0'), __import__('os')._exit(0)]",
        "[9**9**9**9]",
        "[' ' * 10**11]",
    ):
        assert quality(verifier, prompt, answer) == 0.0
    assert not trace.exists()
    assert quality(verifier, prompt, right_answer(prompt)) == 1.0


def test_prompts_that_change_with_the_process_are_verified_as_stored(
    verifier: ReasoningGymVerifier, prompts: dict[str, list[SuitePrompt]]
):
    """polynomial_multiplication depends on the hash seed of the process."""
    prompt = prompts["polynomial_multiplication"][0]
    stored = json.loads(json.dumps(prompt.metadata))
    item = GradingItem(prompt.prompt, stored["entry"]["answer"], None, stored)
    assert verifier.grade(item).quality == 1.0


def test_another_prompt_under_the_same_index_is_refused(
    verifier: ReasoningGymVerifier, prompts: dict[str, list[SuitePrompt]]
):
    prompt = prompts["chain_sum"][0]
    with pytest.raises(DataError, match="makes another prompt"):
        verifier.grade(GradingItem("2 + 2 = ?", "4", None, prompt.metadata))
    gone = {**prompt.metadata, "dataset": "no_such_task"}
    with pytest.raises(DataError, match="cannot verify this prompt"):
        verifier.grade(GradingItem(prompt.prompt, "4", None, gone))
    with pytest.raises(DataError, match="no prompt of a reasoning_gym suite"):
        verifier.grade(GradingItem("2 + 2 = ?", "4"))


def test_a_suite_is_the_same_each_time_and_any_config_counts():
    text = "chain_sum:size=3,seed=5,min_terms=6,max_terms=6"
    first, second = reasoning_gym_prompts(text), reasoning_gym_prompts(text)
    assert [p.key for p in first] == [p.key for p in second]
    assert all(str(p.prompt).count("+") + str(p.prompt).count(" - ") == 5 for p in first)
    larger = reasoning_gym_prompts(text.replace("size=3", "size=4"))
    assert [p.prompt_id for p in larger[:3]] == [p.prompt_id for p in first]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no task"),
        ("chain_summ", "did you mean 'chain_sum'"),
        ("chain_sum:size=0", "size is 0"),
        ("chain_sum:size=2.5", "size is 2.5"),
        ("chain_sum:size", "is not KEY=VALUE"),
        ("chain_sum:no_such=1", "no_such"),
        ("chain_sum:min_terms=9,max_terms=2", "max_terms"),
    ],
)
def test_a_wrong_suite_is_one_line(text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        reasoning_gym_prompts(text)


def test_settings_may_hold_lists():
    assert parse_suite('a+b:x=[1,2],y={"k":[3,4]},z=word') == (
        ("a", "b"), 50, 42, {"x": [1, 2], "y": {"k": [3, 4]}, "z": "word"},
    )  # fmt: skip


def test_a_process_that_died_is_started_again(verifier: Any, prompts: dict[str, list[SuitePrompt]]):
    prompt = prompts["chain_sum"][0]
    right = right_answer(prompt)
    quality(verifier, prompt, right)
    verifier._process.kill()
    verifier._process.wait()
    with pytest.raises(DataError, match="ended"):
        quality(verifier, prompt, right)
    assert quality(verifier, prompt, right) == 1.0
    verifier.close()
    verifier.close()
