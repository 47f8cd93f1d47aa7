from __future__ import annotations

import numpy as np
import pytest

from router.errors import ConfigError
from router.eval.baselines.written_rules import WrittenRules
from router.rules import Rule, TaskRules


@pytest.fixture
def case(make_case, make_matrix):
    prompts = ["Compute 1 + 1.", "Write a poem."] * 10
    tasks = ["sums", "poems"] * 10
    return make_case(make_matrix(np.tile([[0.5, 0.6, 1.0]], (20, 1)), prompts=prompts, tasks=tasks))


def make_rules(case, *rules: Rule) -> TaskRules:
    return TaskRules(rules, "small", reference="large", pool=case.pool)


def test_rules_choose_by_words_and_the_last_setting_is_the_reference(case):
    split, _, _ = case.split()
    rules = make_rules(case, Rule("arithmetic", "middle", patterns=(r"\d \+ \d",)))
    choices = WrittenRules(rules, case.pool).run(split).choices
    wanted = [1 if "+" in prompt else 0 for prompt in split.test_prompts]
    assert choices[0].tolist() == wanted
    assert (choices[1] == split.reference).all()


def test_rules_may_be_told_the_true_task(case):
    split, _, _ = case.split()
    rules = make_rules(case, Rule("poems", "large"))
    by_words = WrittenRules(rules, case.pool).run(split).choices
    told = WrittenRules(rules, case.pool, true_tasks=True).run(split).choices
    assert (by_words[0] == 0).all()
    assert told[0].tolist() == [2 if task == "poems" else 0 for task in split.test_tasks]


def test_rules_for_another_pool_are_refused(case):
    with pytest.raises(ConfigError, match="the rules name llama"):
        WrittenRules(TaskRules([], "llama-3.1-8b"), case.pool)
